"""The back-test: history replayed day by day, every policy scored before it learns."""
