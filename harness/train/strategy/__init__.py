"""How one trial spreads over processes: everything in which the strategies differ."""
