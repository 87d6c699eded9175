"""Models, each a file with its Config."""
