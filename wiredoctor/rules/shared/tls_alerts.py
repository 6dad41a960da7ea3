"""Say which kind of `handshake-failed` each TLS alert means."""

from __future__ import annotations

BY_SERVER = {
    70: "protocol-version",
    40: "no-shared-parameters",
    71: "no-shared-parameters",
    120: "no-application-protocol",
    112: "unrecognized-name",
    80: "internal",
}
BY_CLIENT = {
    48: "unknown-authority",
    45: "certificate-expired",
    **dict.fromkeys((42, 43, 44, 46), "certificate-rejected"),
}
BY_EITHER = dict.fromkeys((20, 21, 51), "bad-record")
"""The kind that an alert means if the server, the client, or either of them sends it."""

ABOUT_CLIENT_CERTIFICATE = (*range(40, 50), 116)
"""The alerts with which a server rejects the client's certificate, or its absence, if it had asked for one."""
