"""Write reports: a folder per reader, a module per format.

`terminal` is for people, `data` for programs; `html`, `packets`, `ladder` and `comparison` say so themselves. `filter` reduces a
report to what was asked for. Modules are imported one by one, because most runs need one only.
"""
