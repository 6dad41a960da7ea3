"""Parse the blocks of SACK options."""
