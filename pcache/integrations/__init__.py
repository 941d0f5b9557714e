"""Other programs that pcache talks to."""
