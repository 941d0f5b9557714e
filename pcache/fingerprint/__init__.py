"""The code that a result depends on, and what tells that it changed."""
