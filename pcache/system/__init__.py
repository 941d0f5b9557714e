"""The operating system: files, locks, processes, signals. Nothing here knows of caches."""
