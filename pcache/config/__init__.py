"""Settings: what they are called, where they come from, and what a decorator is given."""
