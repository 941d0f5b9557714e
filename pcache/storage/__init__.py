"""The cache directory: where entries are kept, how they are stored and removed, and who may compute one."""
