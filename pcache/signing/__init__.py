"""Keys that sign what is stored, where they come from, and the seal in front of each file."""
