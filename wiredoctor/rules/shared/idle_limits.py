"""List the idle timeouts of devices and programs between client and server, each with its source."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from wiredoctor.findings import Reference
from wiredoctor.tables import MILLISECOND, SECOND


class IdleLimit(NamedTuple):
    """The default idle limit of a product: the seconds without payload, the name of the setting, and the vendor's page about it.

    `closes`: the product ends the connection with a FIN or RST. `forgets`: it drops the connection silently, so later packets
    are lost or answered with an RST.
    """

    name: str
    seconds: int
    setting: str
    source: Reference
    closes: bool = True
    forgets: bool = False


_AWS = "https://docs.aws.amazon.com/"

IDLE_LIMITS = (
    IdleLimit(
        "Google Cloud's application load balancers",
        30,
        "timeout of the backend service, after which WebSockets end even if they are in use",
        Reference("Google Cloud, backend service timeout", "https://cloud.google.com/load-balancing/docs/https#timeout-bes"),
    ),
    IdleLimit(
        "HAProxy as Debian and Ubuntu ship it",
        50,
        "timeout client and timeout server; timeout tunnel where it is set",
        Reference("HAProxy, timeout tunnel", "https://docs.haproxy.org/2.6/configuration.html#4.2-timeout%20tunnel"),
    ),
    IdleLimit(
        "Heroku's router",
        55,
        "not configurable",
        Reference("Heroku, request timeout", "https://devcenter.heroku.com/articles/request-timeout"),
    ),
    IdleLimit(
        "nginx",
        60,
        "proxy_read_timeout",
        Reference("nginx, WebSocket proxying", "https://nginx.org/en/docs/http/websocket.html"),
    ),
    IdleLimit(
        "AWS application load balancers",
        60,
        "idle_timeout.timeout_seconds",
        Reference(
            "AWS, application load balancer attributes: idle timeout",
            _AWS + "elasticloadbalancing/latest/application/edit-load-balancer-attributes.html",
        ),
    ),
    IdleLimit(
        "Apache httpd",
        60,
        "ProxyTimeout",
        Reference("Apache httpd, ProxyTimeout", "https://httpd.apache.org/docs/2.4/mod/mod_proxy.html#proxytimeout"),
    ),
    IdleLimit(
        "Cloudflare",
        120,
        "Proxy Read Timeout",
        Reference("Cloudflare, connection limits", "https://developers.cloudflare.com/fundamentals/reference/connection-limits/"),
    ),
    IdleLimit(
        "Azure Load Balancer",
        240,
        "idleTimeoutInMinutes; the load balancer closes idle connections only if enableTcpReset is on",
        Reference(
            "Microsoft, Azure Load Balancer: TCP reset and idle timeout",
            "https://learn.microsoft.com/en-us/azure/load-balancer/load-balancer-tcp-reset",
        ),
        forgets=True,
    ),
    IdleLimit(
        "Envoy",
        300,
        "stream_idle_timeout",
        Reference("Envoy, timeouts", "https://www.envoyproxy.io/docs/envoy/latest/faq/configuration/timeouts"),
    ),
    IdleLimit(
        "Apache httpd as Debian and Ubuntu ship it",
        300,
        "Timeout, and ProxyTimeout, which defaults to it",
        Reference("Apache httpd, TimeOut", "https://httpd.apache.org/docs/2.4/mod/core.html#timeout"),
    ),
    IdleLimit(
        "AWS network load balancers",
        350,
        "tcp.idle_timeout.seconds",
        Reference(
            "AWS, network load balancers: TCP idle timeout",
            _AWS + "elasticloadbalancing/latest/network/update-idle-timeout.html",
        ),
        forgets=True,
    ),
    IdleLimit(
        "AWS Network Firewall",
        350,
        "TcpIdleTimeoutSeconds",
        Reference("AWS Network Firewall, FlowTimeouts", _AWS + "network-firewall/latest/APIReference/API_FlowTimeouts.html"),
        closes=False,
        forgets=True,
    ),
    IdleLimit(
        "Google Cloud's VPC networks",
        600,
        "not configurable",
        Reference("Google Cloud, idle connections", "https://cloud.google.com/compute/docs/troubleshooting"),
        closes=False,
        forgets=True,
    ),
    IdleLimit(
        "Envoy as a proxy of TCP",
        3_600,
        "idle_timeout",
        Reference("Envoy, timeouts", "https://www.envoyproxy.io/docs/envoy/latest/faq/configuration/timeouts"),
    ),
    IdleLimit(
        "Linux' connection tracking",
        432_000,
        "nf_conntrack_tcp_timeout_established",
        Reference("Linux, nf_conntrack sysctls", "https://docs.kernel.org/networking/nf_conntrack-sysctl.html"),
        closes=False,
        forgets=True,
    ),
)
"""All known idle timeouts, ascending. RFC 5382 (REQ-5) requires NATs to keep a connection for at least 7,440 s; many do not."""

NEAR_SHARE = 0.005
NEAR = 50 * MILLISECOND
"""The minimum tolerance in ns within which an idle time matches a limit: proxies check connections only now and then.

The tolerance is NEAR_SHARE of the limit if that is longer.
"""


def limit_near(rest: pl.Expr) -> pl.Expr:
    """Return the idle timeout (ns) in IDLE_LIMITS that matches this idle time (ns); null if there is none.

    Only products that end idle connections with a FIN or RST are considered.
    """
    limits = sorted({limit.seconds * SECOND for limit in IDLE_LIMITS if limit.closes})
    near = {limit: (rest - limit).abs() <= max(NEAR, round(limit * NEAR_SHARE)) for limit in limits}
    return pl.coalesce(pl.when(is_near).then(pl.lit(limit, pl.Int64)) for limit, is_near in near.items())


def names_of_limit(limit: pl.Expr) -> pl.Expr:
    """Return the names of the products with this default idle timeout (ns): "nginx (proxy_read_timeout) and Apache httpd
    (ProxyTimeout)".
    """
    named = {seconds * SECOND: _list_names(seconds) for seconds in {limit.seconds for limit in IDLE_LIMITS if limit.closes}}
    return limit.replace_strict(named, default=None, return_dtype=pl.String)


def _list_names(seconds: int) -> str:
    names = [f"{limit.name} ({limit.setting})" for limit in IDLE_LIMITS if limit.closes and limit.seconds == seconds]
    return " and of ".join([", of ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
