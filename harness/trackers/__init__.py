"""Trackers: where the course of a trial is shown while it trains, beside the store, which is its record."""
