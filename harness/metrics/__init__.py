"""Metrics: functional core, thin classes, and what each figure means."""
