"""Calibration and ensembles over any model's few positive parameters."""
