"""Maintenance on request: evict, clear, verify, recompress."""
