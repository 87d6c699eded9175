"""A metric over the runs of a suite, and where its level changed."""
