"""A project as `harness init` writes it: every file here but this one, and the schema of suites."""
