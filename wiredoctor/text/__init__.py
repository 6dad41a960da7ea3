"""How numbers, times and text from packets are written so that people can read them safely, and what of them is redacted."""
