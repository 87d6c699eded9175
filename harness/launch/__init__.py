"""Clusters to run on: manifests filled from settings, and the tools that they are handed to."""
