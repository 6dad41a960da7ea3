"""IP: fragments that wait for the rest of their datagram, and names of encapsulations."""
