"""The commands: a module each, named as the command, with a function of the same name."""
