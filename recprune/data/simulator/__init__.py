"""The simulator: what is true on a day, the rows that follow from it, and how they are delivered."""
