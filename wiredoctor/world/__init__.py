"""What rules ask about servers, clients and connections besides the facts of a candidate.

`World` gives the answers to `decide` of a rule. Each kind of answer is an `Index`, such as servers.Servers or
clients.Clients; it is built once for all candidates of the rules that ask for it.
"""

from wiredoctor.world.world import CaptureTables, Index, Wait, World

__all__ = ["CaptureTables", "Index", "Wait", "World"]
