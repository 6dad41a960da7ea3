"""Rules that report problems of the capture itself, so that no server is blamed for them."""
