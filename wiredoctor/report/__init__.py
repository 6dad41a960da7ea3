"""Write reports, with one module per format.

The folder `terminal` contains formats for people, and `data` formats for programs. The module `filter` reduces a report to the
requested part. Modules are imported individually, because most runs need only one.
"""
