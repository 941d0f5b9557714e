"""Sizes, durations and text as people read them."""
