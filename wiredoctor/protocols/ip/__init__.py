"""Reassemble IP fragments, and name encapsulations."""
