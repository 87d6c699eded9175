"""Loss terms, each a class with its Config."""
