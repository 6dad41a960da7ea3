"""Name the software whose default idle timeout matches an observed one."""

from __future__ import annotations

import re

import polars as pl

from wiredoctor.tables import SECOND

ANY = ""
"""A pattern that matches every Server field, for intermediaries: they forward the field of the server behind them."""

_IDLE_LIMITS: tuple[tuple[int, tuple[tuple[str, str], ...]], ...] = (
    (2, (("gunicorn", "gunicorn (--keep-alive)"),)),
    (
        5,
        (
            (r"Apache(?!-Coyote|-Tomcat)", "Apache httpd (KeepAliveTimeout)"),
            (r"node|express", "Node (server.keepAliveTimeout)"),
            ("uvicorn", "uvicorn"),
            ("hypercorn", "hypercorn"),
            ("lighttpd", "lighttpd"),
        ),
    ),
    (6, ((r"node|express", "recent releases of Node (server.keepAliveTimeout of 5 s and a buffer of 1 s)"),)),
    (10, (("bun", "Bun"),)),
    (20, ((r"Apache-Coyote|Tomcat", "Tomcat as it is shipped (connectionTimeout in server.xml)"),)),
    (30, (("jetty", "Jetty (idleTimeout)"),)),
    (
        60,
        (
            (ANY, "AWS application load balancers (idle timeout)"),
            (r"Apache-Coyote|Tomcat", "Tomcat without a setting (keepAliveTimeout)"),
        ),
    ),
    (65, (("puma", "Puma (persistent_timeout)"),)),
    (
        75,
        ((r"nginx|openresty|tengine", "nginx (keepalive_timeout)"), ("aiohttp", "aiohttp's run_app (keepalive_timeout)")),
    ),
    (90, ((ANY, "Heroku's router"),)),
    (120, ((r"IIS|Microsoft-HTTPAPI", "IIS (connectionTimeout)"), ("waitress", "waitress (channel_timeout)"))),
    (180, ((ANY, "Traefik (idleTimeout of the entry point)"),)),
    (300, (("caddy", "Caddy (idle_timeout)"),)),
    (3600, (("envoy", "Envoy (idle_timeout)"),)),
)
"""The default idle timeouts (s), each with patterns for the Server field and names of the software."""


def default_of_server(limit: int | None, server: str) -> str:
    """Return the software with this default idle timeout (ns): "; 5 s is the default of Apache httpd (...)". Return "" if there
    is none.

    `server`: the Server field. If it is not empty, only the product that it names can be returned.
    """
    whose = [(s, name) for s, pattern, name in _near(limit) if not server or _is(server, pattern)]
    if not whose:
        return ""
    names = [name for _, name in whose]
    listed = " and of ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return f"; {whose[0][0]} s is the default of {listed}"


def _is(server: str, pattern: str) -> bool:
    patterns = [p for _, products in _IDLE_LIMITS for p, _ in products if p] if pattern == ANY else [pattern]
    return any(re.search(p, server, re.IGNORECASE) for p in patterns)


def is_default(limit: pl.Expr) -> pl.Expr:
    """Return whether this idle timeout (ns) is a common default."""

    def near(limits: pl.Series) -> pl.Series:
        return pl.Series(limits.name, [bool(_near(n)) for n in limits.cast(pl.Int64).to_list()], dtype=pl.Boolean)

    return limit.map_batches(near, return_dtype=pl.Boolean, is_elementwise=True)


def _near(limit: int | None) -> list[tuple[int, str, str]]:
    """Return the default idle timeouts near a measured one (ns): seconds, a pattern for the Server field, and the product.

    A timer may expire late. It may seem to expire early if the end of the response was still in the server's buffers when it
    started.
    """
    if limit is None:
        return []
    for s, products in _IDLE_LIMITS:
        if abs(limit - s * SECOND) <= max(s / 50, min(s / 10, 0.5)) * SECOND:
            return [(s, pattern, name) for pattern, name in products]
    return []


def usual_limits(server: str) -> list[int]:
    """Return the default idle timeouts (s) of the software in this Server field; all of them if the field is empty."""
    return [
        seconds
        for seconds, products in _IDLE_LIMITS
        if any(not server or (pattern != ANY and _is(server, pattern)) for pattern, _ in products)
    ]
