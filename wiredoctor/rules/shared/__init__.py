"""Measures and proofs that several rules share. No file here is a rule."""
