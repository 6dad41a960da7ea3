"""TCP: the blocks of SACK options."""
