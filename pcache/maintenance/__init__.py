"""What people have done to a cache: evict, clear, verify, recompress."""
