"""How to tell it: a module per format.

Text for people: `text` (the diagnosis), `exchanges`, `connections` (a line each), `manual` (rules).
For machines: `json`, described by `schema`.
`narrow` reduces a report to what was asked for. Modules are imported one by one, because most runs need one only.
"""
