"""Captures for a language model, over the Model Context Protocol: the server that `wiredoctor mcp` runs."""
