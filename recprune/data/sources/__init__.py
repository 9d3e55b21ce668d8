"""Where a day's events come from."""
