"""Format numbers, times and text from packets so they are readable and safe to print, and redact secrets."""
