"""Running one call, from its arguments to its result."""
