"""Write the event tables of the core."""
