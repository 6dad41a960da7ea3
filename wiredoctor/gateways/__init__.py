"""Pair requests at the front and the back of a reverse proxy (RFC 9110 section 3.7) within one capture.

The entry point is `find`. The front of a gateway is the side of its clients, the back the side of its servers. "A front" and "a
back" also mean an exchange on that side.
The tries of a front are what the gateway did at its back to serve it: requests to servers, and attempts. An attempt is a
connection that was opened for the front but carried no request.
"""

from __future__ import annotations

from wiredoctor.gateways.finding import find
from wiredoctor.gateways.known import LATE, TRIES, Doubt, Gateways, Place

__all__ = ["LATE", "TRIES", "Doubt", "Gateways", "Place", "find"]
