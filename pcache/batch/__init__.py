"""Many calls at once: `f.map(...)`, with workers or without, and functions that compute many items together."""
