"""What is tried before a run: every distinct structure of its trials."""
