"""Ablation studies and benchmarks for vision: plan, run, keep and judge."""

__version__ = "0.1.0"
