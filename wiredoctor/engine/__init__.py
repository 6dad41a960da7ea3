"""Runs the core over a capture, and hands its tables to the rules."""
