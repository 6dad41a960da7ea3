"""Rules about bodies that are sent piece by piece."""
