"""What rules ask about servers, clients and connections besides the facts of a candidate.

`World` gives the answers to `decide` of a rule. Each kind of answer is an `Index`, such as server.Servers or
clients.Clients; it is built once for all candidates of the rules that ask for it.

A `server.Server` is an endpoint with its idle timeouts, and the ends of its processes; it is asked for what was known at a time.
`exchange` has the types of an exchange as its client sees it, of a connection, and of an attempt to connect; gateways/tries.py
adds what a gateway did for an exchange. `products` lists what products do by default.
"""

from wiredoctor.world.world import CaptureTables, Index, Wait, World

__all__ = ["CaptureTables", "Index", "Wait", "World"]
