"""Statistics, effects and claims: pure functions over a run's record."""
