"""What becomes of the state between sequences."""
