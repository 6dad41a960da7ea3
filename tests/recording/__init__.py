"""The capturing part."""
