"""Versions of functions: recorded, compared, adopted."""
