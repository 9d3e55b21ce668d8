"""Rules that decide on promotion, and what they would have said."""
