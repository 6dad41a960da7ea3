"""What tls_handshakes.py records: failed handshakes with their truth, and healthy ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tls_programs import Serving, Using

CLIENTS = (
    "curl",
    "wget",
    "s_client",
    "gnutls",
    "git",
    "python",
    "python:requests",
    "python:aiohttp",
    "go",
    "node",
    "java",
    "java:url",
)
SERVERS = ("openssl", "nginx", "haproxy", "apache", "stunnel", "go", "node", "python")


@dataclass(frozen=True)
class Plan:
    """A recording. `rule`: what must be reported ("" for healthy). `kind`: "alert" if the plain alert of `sender` decides it.

    `sender`: the side that ended the handshake. `side`: the side that must change something. `black_hole`: the side whose network
    loses large packets that come to it. `only`: the side whose packets are captured, if not both.
    """

    name: str
    serving: Serving
    using: Using
    rule: str = ""
    kind: str = ""
    sender: str = ""
    side: str = ""
    rtt: float = 0.0
    black_hole: str = ""
    only: str = ""


def plans() -> dict[str, Plan]:
    """Return all plans by name, each with a round trip of 0 and of 40 ms."""
    all_plans = [*_rejected(), *_parameters(), *_client_certificates(), *_names(), *_protocols(), *_closes(), *_healthy()]
    far = [replace(one, name=f"{one.name}-40ms", rtt=0.04) for one in all_plans if not one.black_hole]
    return {one.name: one for one in [*all_plans, *far]}


def _failed(name: str, serving: Serving, using: Using, kind: str, sender: str, side: str = "server") -> Plan:
    return Plan(name, serving, using, "handshake-failed", kind, sender, side)


def _rejected() -> list[Plan]:
    """Clients that reject the certificate of the server, with TLS 1.2 and 1.3."""
    plans: list[Plan] = []
    wrong = (("expired", True), ("foreign", False), ("self-signed", False), ("no-intermediate", True))
    for number, client in enumerate(CLIENTS):
        certificate, trusts = wrong[number % len(wrong)]
        server = SERVERS[number % len(SERVERS)]
        for version in ("1.2", "1.3"):
            serving = Serving(server, certificate, maximum=version, minimum=version)
            name = f"rejected-{client.replace(':', '-')}-{server}-{version}"
            plans.append(_failed(name, serving, Using(client, trusts=trusts), "alert", "client"))
    return plans


def _parameters() -> list[Plan]:
    old = [
        _failed(
            f"version-{server}-{client.replace(':', '-')}",
            Serving(server, minimum="1.3"),
            Using(client, maximum="1.2"),
            "alert",
            "server",
        )
        for server, client in zip(
            SERVERS, ("curl", "gnutls", "python", "s_client", "java", "node", "go", "python:aiohttp"), strict=True
        )
        if server != "go"
    ]
    suite = "ECDHE-ECDSA-AES256-GCM-SHA384"
    ciphers = [
        _failed(
            f"cipher-{server}-{client.replace(':', '-')}",
            Serving(server, maximum="1.2", ciphers=suite),
            Using(client, maximum="1.2", ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"),
            "alert",
            "server",
        )
        for server, client in (
            ("openssl", "curl"),
            ("nginx", "python"),
            ("haproxy", "s_client"),
            ("apache", "node"),
            ("node", "curl"),
        )
    ]
    groups = [
        _failed("group-nginx-s_client", Serving("nginx", groups="X448"), Using("s_client", groups="P-256"), "alert", "server")
    ]
    alpn = [
        _failed(
            f"alpn-{server}-{client}", Serving(server, protocols=("other",)), Using(client, protocols=("h2",)), "alert", "server"
        )
        for server, client in (("node", "python"), ("node", "gnutls"), ("node", "s_client"))
    ]
    return [*old, *ciphers, *groups, *alpn]


def _client_certificates() -> list[Plan]:
    plans: list[Plan] = []
    for number, server in enumerate(("openssl", "haproxy", "stunnel", "go", "node", "python")):
        for version in ("1.2", "1.3"):
            client = ("curl", "s_client", "wget", "python:requests", "gnutls", "go", "node", "java")[
                (2 * number + (version == "1.3")) % 8
            ]
            given = "" if number % 2 or client == "java" else "foreign-client"
            serving = Serving(server, minimum=version, maximum=version, verify=True)
            name = f"client-certificate-{server}-{client.replace(':', '-')}-{version}"
            using = Using(client, certificate=given)
            if server != "node":
                plans.append(_failed(name, serving, using, "client-certificate", "server", "client"))
            elif version == "1.2":  # node sends no alert; in TLS 1.3 it closes a connection that is complete for the client
                plans.append(_failed(name, serving, using, "closed", "server"))
    return plans


def _names() -> list[Plan]:
    return [
        _failed(
            f"name-{server}-{client.replace(':', '-')}",
            Serving(server, strict=True),
            Using(client, name="other.test"),
            "alert",
            "server",
        )
        for server, client in (
            ("nginx", "curl"),
            ("haproxy", "go"),
            ("openssl", "python"),
            ("nginx", "java"),
            ("haproxy", "gnutls"),
        )
    ]


def _protocols() -> list[Plan]:
    to_plain = [
        Plan(
            f"tls-to-plain-{c.replace(':', '-')}",
            Serving("plain"),
            Using(c),
            "wrong-protocol",
            "tls-to-plain",
            "server",
            "client",
        )
        for c in ("curl", "wget", "python:requests", "go", "node", "java")
    ]
    to_tls = [
        Plan(f"plain-to-tls-{s}", Serving(s), Using("curl", scheme="http"), "wrong-protocol", "plain-to-tls", "server", "client")
        for s in ("nginx", "apache", "go")
    ]
    return [*to_plain, *to_tls]


def _closes() -> list[Plan]:
    closed = [
        _failed(f"{server}-{client.replace(':', '-')}", Serving(server), Using(client, timeout=6.0), "closed", "server")
        for server in ("closes", "resets", "closes-late", "closes-unread")
        for client in (("curl", "go", "gnutls", "python") if server != "closes-late" else ("curl", "node"))
    ]
    large = Using("python", protocols=tuple(f"{n}" * 200 for n in range(10)))
    silent = [
        Plan(
            f"silent-{c.replace(':', '-')}", Serving("silent"), Using(c, timeout=4.5), "handshake-timeout", "silent", "", "server"
        )
        for c in ("curl", "python:aiohttp", "go", "s_client", "java:url")
    ]
    return [
        *closed,
        *silent,
        _failed("large-hello-reset", Serving("resets"), large, "closed", "server"),
        Plan("large-hello-silent", Serving("silent"), large, "handshake-timeout", "silent", "", "server"),
        Plan(
            "black-hole",
            Serving("python", "large"),
            Using("curl", timeout=5.0),
            "handshake-timeout",
            "gap",
            "",
            "",
            0.0,
            "client",
        ),
    ]


def _healthy() -> list[Plan]:
    plans: list[Plan] = []
    for number, server in enumerate(SERVERS):
        for shift in range(4):
            client = CLIENTS[(number + 3 * shift) % len(CLIENTS)]
            version = ("1.2", "1.3")[shift % 2]
            tickets = shift < 2
            serving = Serving(server, minimum=version, maximum=version, tickets=tickets)
            plans.append(Plan(f"healthy-{server}-{client.replace(':', '-')}-{version}", serving, Using(client, requests=2)))
    for server, client in (
        ("nginx", "curl"),
        ("openssl", "python:requests"),
        ("go", "go"),
        ("haproxy", "node"),
        ("node", "curl"),
    ):
        serving = Serving(server, verify=True)
        plans.append(
            Plan(f"mutual-{server}-{client.replace(':', '-')}", serving, Using(client, certificate="client", requests=2))
        )
    retry = Plan("retry-nginx-curl", Serving("nginx", groups="P-256"), Using("curl", groups="X448:P-256"))
    # a connection without a request: the client closes it at once or soon, or the server after its limit
    unused = Using("python", pause=0.5, asks=False)
    waiting = Using("python", pause=2.0, asks=False)
    spare = [
        Plan(f"spare-{name}-{server}-{version}", Serving(server, minimum=version, maximum=version, limit=limit), using)
        for name, using, limit, servers in (
            ("client", unused, 0.0, ("nginx", "haproxy", "python", "go")),
            ("server", waiting, 1.0, ("nginx", "haproxy")),
            ("probe", Using("connect"), 0.0, ("nginx",)),
        )
        for server in servers
        for version in ("1.2", "1.3")
    ]
    checks = [Plan(f"check-{server}", Serving(server), Using("check", timeout=2.5)) for server in ("nginx", "openssl", "haproxy")]
    resumed = [
        Plan(f"resumed-{server}-{client}-{version}", Serving(server, minimum=version, maximum=version), Using(client, requests=3))
        for server, client in (("nginx", "python"), ("go", "go"), ("haproxy", "go"), ("python", "node"))
        for version in ("1.2", "1.3")
    ]
    one_way = [
        Plan(f"one-way-{side}-nginx-curl-{version}", Serving("nginx", maximum=version), Using("curl"), only=side)
        for side in ("client", "server")
        for version in ("1.2", "1.3")
    ]
    long = Using("python", protocols=(*(f"{n}" * 200 for n in range(8)), "http/1.1"))
    asked = Plan("nginx-no-client-certificate", Serving("nginx", verify=True), Using("curl"))
    return [*plans, retry, *spare, *checks, *resumed, *one_way, asked, Plan("two-segments", Serving("nginx"), long)]
