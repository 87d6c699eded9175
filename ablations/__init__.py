"""Bundled ablations."""
