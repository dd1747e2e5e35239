"""Anatomy without any network: Hounsfield bands, connected air, clicks, and what moves."""
