"""Recordings of both sides of a proxy."""
