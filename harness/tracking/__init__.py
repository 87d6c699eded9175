"""Over time: runs compared, baselines and their gate, histories of metrics."""
