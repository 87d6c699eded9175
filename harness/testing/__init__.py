"""Conformance cases for executors and stores, shipped so that plugins can use them."""
