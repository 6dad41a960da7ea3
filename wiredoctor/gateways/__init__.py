"""Pair requests at the front and the back of a reverse proxy (RFC 9110 section 3.7) within one capture.

The entry point is `find`. An exchange at the front has tries: exchanges at the back that carry the same request, and attempts,
which are connections that were opened for it but carried no request.
"""

from __future__ import annotations

from wiredoctor.gateways.finding import find
from wiredoctor.gateways.known import LATE, TRIES, Doubt, Gateways, Place

__all__ = ["LATE", "TRIES", "Doubt", "Gateways", "Place", "find"]
