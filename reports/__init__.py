"""Report templates and their style, found by name: one folder per template."""
