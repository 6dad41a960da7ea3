"""The version of wiredoctor."""

__version__ = "0.1.0"
