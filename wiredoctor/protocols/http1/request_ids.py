"""Recognize request ids: header fields by which a request can be found in the logs of several programs."""

from __future__ import annotations

import re

from wiredoctor.text.regex import Regex

REQUEST_IDS: dict[bytes, int] = {b"x-request-id": 2, b"x-correlation-id": 3, b"x-amzn-trace-id": 4, b"traceparent": 5}
"""The rank of each field that carries a request id, by lower-case name. The id with the lowest rank in a message is kept."""

ID_LINE = Regex(
    rb"^(" + b"|".join(re.escape(name) for name in REQUEST_IDS) + rb")[ \t]*:([^\r\n]{0,160})", re.IGNORECASE | re.MULTILINE
)

WELL_FORMED = r"^[A-Za-z0-9._:/=;-]{1,128}$"
"""The pattern of a request id. Other text sent as an id is not kept, because it may contain anything."""
