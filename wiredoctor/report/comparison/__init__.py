"""Write the three comparisons (before and after, two points, both sides of a proxy) as text, Markdown and JSON."""
