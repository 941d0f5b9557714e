"""What a call is: its arguments, bound and encoded, become a key."""
