"""The commands: one module each, with the name of the command and a function of the same name."""
