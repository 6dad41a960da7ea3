"""The commands. Each module contains one command, as a function with the name of the command."""
