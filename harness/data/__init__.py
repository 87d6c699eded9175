"""Data sets, each a file with its Config."""
