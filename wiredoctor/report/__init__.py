"""Write reports: one folder per reader, one module per format.

`terminal` is for people, `data` for programs; `html`, `packets`, `ladder` and `comparison` have their own purposes. `filter`
reduces a report to the requested part. Modules are imported individually, because most runs need only one.
"""
