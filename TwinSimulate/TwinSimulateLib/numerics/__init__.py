"""Solvers that know arrays and spacings, and nothing of patients."""
