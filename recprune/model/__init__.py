"""The network: its shape, its forward pass, the state of a line, lines on disk."""
