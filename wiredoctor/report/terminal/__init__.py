"""Write reports for people: text and Markdown, lists of exchanges and connections, live view, manual pages, rule search."""
