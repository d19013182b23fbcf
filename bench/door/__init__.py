"""What the way from the socket to a view costs."""
