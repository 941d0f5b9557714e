"""Which entries are removed when there is no more room, and how they are removed."""
