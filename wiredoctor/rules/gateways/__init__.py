"""Rules about reverse proxies. They need both sides of a proxy in one capture."""
