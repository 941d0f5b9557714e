"""Code versions of functions: recorded, compared, adopted."""
