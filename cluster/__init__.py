"""Bundled cluster manifests."""
