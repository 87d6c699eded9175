"""Tasks: batch -> loss, outputs -> metrics, outputs -> picture."""
