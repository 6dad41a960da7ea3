"""Rules about gateways: reverse proxies, and what they make of their servers' answers."""
