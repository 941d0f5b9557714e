"""The bytes of one result: written, checked, read."""
