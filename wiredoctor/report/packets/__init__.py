"""Reports that show packets: annotated captures, followed streams, message heads and bodies."""
