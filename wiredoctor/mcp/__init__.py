"""Serve captures to language models over the Model Context Protocol (`wiredoctor mcp`)."""
