"""Rules about bodies that come piece by piece."""
