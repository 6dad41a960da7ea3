"""Rules about problems of the capture itself, so no server is blamed for them."""
