"""Code that several rules share. No file in this folder is a rule."""
