"""Faults at random moments, and what must hold afterwards; see docs/reliability.md."""
