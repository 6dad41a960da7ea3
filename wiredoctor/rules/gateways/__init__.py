"""Rules about reverse proxies. Most of their findings need both sides of the proxy in one capture."""
