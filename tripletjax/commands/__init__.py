"""The commands, one file each, with heavy imports only when they run."""
