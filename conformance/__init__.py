"""Measures tidegate on other people's cases: ``python -m conformance``."""
