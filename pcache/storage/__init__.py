"""The directory: where entries lie, how they come and go, and who may compute one."""
