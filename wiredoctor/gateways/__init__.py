"""Pair requests at the front and the back of a reverse proxy (RFC 9110 section 3.7) within one capture.

The entry point is `find`. The front of a gateway is the side of its clients, the back the side of its servers. "A front" also
means one exchange between a client and the gateway, "a back" one exchange between the gateway and a server.
The tries of a front are what the gateway did to serve this exchange: its requests to servers, and its attempts to connect. An
attempt is a connection that the gateway opened for the front but that carried no request. `tries` is the model of both, and
`kinds` says why a gateway failed its client.
"""

from __future__ import annotations

from wiredoctor.gateways.finding import find
from wiredoctor.gateways.known import GATEWAY_ERRORS, LATE, TRIES, UNAVAILABLE, Doubt, Gateways, Place

__all__ = ["GATEWAY_ERRORS", "LATE", "TRIES", "UNAVAILABLE", "Doubt", "Gateways", "Place", "find"]
