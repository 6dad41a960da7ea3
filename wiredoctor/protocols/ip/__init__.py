"""Reassemble incomplete IP datagrams, and name encapsulations."""
