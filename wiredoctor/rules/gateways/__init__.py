"""Rules about reverse proxies, where one capture holds both of their sides."""
