"""How good predictions are, and how sure one can be."""
