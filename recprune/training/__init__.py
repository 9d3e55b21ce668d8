"""Training and scoring of a line."""
