"""Trained models as folders of their own: written from a store, and predicted from."""
