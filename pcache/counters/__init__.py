"""What happened: hits, misses and removals, counted, appended to the ledger and merged."""
