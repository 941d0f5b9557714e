"""Writing, checking and reading the bytes of one result."""
