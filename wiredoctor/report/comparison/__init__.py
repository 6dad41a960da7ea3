"""The three comparisons, as text, Markdown and JSON."""
