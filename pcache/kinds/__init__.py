"""Kinds of cached functions besides the ordinary one."""
