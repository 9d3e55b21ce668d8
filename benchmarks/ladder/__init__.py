"""How fast every step is: our figure, the peer's in the same run, the ratio of both, and the goal."""
