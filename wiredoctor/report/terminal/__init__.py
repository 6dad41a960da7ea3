"""Reports for people: text and Markdown, lists of exchanges and connections, the live view, manual pages, the search of rules."""
