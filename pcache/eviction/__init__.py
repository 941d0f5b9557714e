"""Which entries are removed when a limit is exceeded, and how they are removed."""
