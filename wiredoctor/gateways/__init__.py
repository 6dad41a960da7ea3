"""Pair requests at the front and the back of a reverse proxy (RFC 9110 section 3.7) within one capture.

The entry point is `find`. The front is the side of the gateway's clients, the back the side of its servers; a front or a back is
also an exchange there. An exchange at the front has tries: exchanges at the back that carry the same request, and attempts,
which are connections that were opened for it but carried no request.
"""

from __future__ import annotations

from wiredoctor.gateways.finding import find
from wiredoctor.gateways.known import LATE, TRIES, Doubt, Gateways, Place

__all__ = ["LATE", "TRIES", "Doubt", "Gateways", "Place", "find"]
