"""Which requests a gateway sent on for which: front and back of a reverse proxy (RFC 9110 section 3.7) in one capture.

The door: `find`. An exchange at the front has tries: exchanges at the back that carry its request, and attempts, which are
connections that were begun for it and carried none.
"""

from __future__ import annotations

from wiredoctor.gateways.finding import find
from wiredoctor.gateways.known import TRIES, Doubt, Gateways, Place

__all__ = ["TRIES", "Doubt", "Gateways", "Place", "find"]
