"""Two runs, or two variants, side by side: what changed and what it did."""
