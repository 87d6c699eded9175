"""What a plan takes, and what it may take."""
