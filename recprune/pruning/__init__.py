"""What is removed from a network, and when."""
