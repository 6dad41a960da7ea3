"""Run the core over a capture and pass its tables to the rules."""
