"""Rules about the lifetime of connections: how long they stay open, and who ends them."""
