"""What people are told about a cache: statistics, listings, explanations, what is wrong."""
