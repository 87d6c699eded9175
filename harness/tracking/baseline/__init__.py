"""Baselines: stored runs that later runs are gated against, as small files for git."""
