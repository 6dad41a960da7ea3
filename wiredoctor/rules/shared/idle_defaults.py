"""Name the software whose default idle timeout matches an observed idle timeout."""

from __future__ import annotations

import re
from typing import NamedTuple

import polars as pl

from wiredoctor.rules.shared.numbers import map_numbers
from wiredoctor.tables import SECOND

ANY = ""
"""A pattern that matches every Server field, for intermediaries: they forward the field of the server behind them."""


class _Product(NamedTuple):
    """A product with a default idle timeout.

    `pattern`: a pattern for its Server field. `unnamed`: it sends no Server field, or is often configured to send none. Other
    products name themselves in every response.
    """

    pattern: str
    name: str
    unnamed: bool = False


_IDLE_LIMITS: tuple[tuple[int, tuple[_Product, ...]], ...] = (
    (2, (_Product("gunicorn", "gunicorn (--keep-alive)"),)),
    (
        5,
        (
            _Product(r"Apache(?!-Coyote|-Tomcat)", "Apache httpd (KeepAliveTimeout)"),
            # current releases announce their timeout, and an announced timeout is reported instead of a default
            _Product(r"node|express", "old releases of Node (server.keepAliveTimeout)", unnamed=True),
            _Product("uvicorn", "uvicorn"),
            _Product("hypercorn", "hypercorn"),
            _Product("lighttpd", "lighttpd"),
        ),
    ),
    (10, (_Product("bun", "Bun", unnamed=True),)),
    (20, (_Product(r"Apache-Coyote|Tomcat", "Tomcat as it is shipped (connectionTimeout in server.xml)", unnamed=True),)),
    (30, (_Product("jetty", "Jetty (idleTimeout)", unnamed=True),)),
    (
        60,
        (
            _Product(ANY, "AWS application load balancers (idle timeout)", unnamed=True),
            _Product(r"Apache-Coyote|Tomcat", "Tomcat without a setting (keepAliveTimeout)", unnamed=True),
        ),
    ),
    (65, (_Product("puma", "Puma (persistent_timeout)", unnamed=True),)),
    (
        75,
        (
            _Product(r"nginx|openresty|tengine", "nginx (keepalive_timeout)"),
            _Product("aiohttp", "aiohttp's run_app (keepalive_timeout)"),
        ),
    ),
    (90, (_Product(ANY, "Heroku's router", unnamed=True),)),
    (
        120,
        (_Product(r"IIS|Microsoft-HTTPAPI", "IIS (connectionTimeout)"), _Product("waitress", "waitress (channel_timeout)")),
    ),
    (180, (_Product(ANY, "Traefik (idleTimeout of the entry point)", unnamed=True),)),
    (300, (_Product("caddy", "Caddy (idle_timeout)"),)),
    (3600, (_Product("envoy", "Envoy (idle_timeout)"),)),
)
"""The default idle timeouts (s) of servers and intermediaries. Go's net/http has none, and sends no Server field either."""


def default_of_server(limit: int | None, server: str) -> str:
    """Return the software with this default idle timeout (ns): "; 5 s is the default of Apache httpd (...)". Return "" if there
    is none.

    `server`: the Server field. Only products that it names are returned. If it is empty, only products that often send no Server
    field are returned.
    """
    whose = [(s, product) for s, product in _near(limit) if _is(server, product)]
    if not whose:
        return ""
    names = [product.name for _, product in whose]
    listed = " and of ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return f"; {whose[0][0]} s is the default of {listed}"


def _is(server: str, product: _Product) -> bool:
    """Return whether a server may be this product. `server`: its Server field, "" if it sends none."""
    if not server:
        return product.unnamed
    patterns = (
        [p.pattern for _, products in _IDLE_LIMITS for p in products if p.pattern]
        if product.pattern == ANY
        else [product.pattern]
    )
    return any(re.search(pattern, server, re.IGNORECASE) for pattern in patterns)


def is_default(limit: pl.Expr) -> pl.Expr:
    """Return whether this idle timeout (ns) is a common default."""
    return map_numbers(limit, lambda ns: bool(_near(ns)), pl.Boolean())


def _near(limit: int | None) -> list[tuple[int, _Product]]:
    """Return the default idle timeouts (s) near a measured idle timeout (ns), and the products.

    A timer may expire late. It may also seem to expire early: the server starts it when it has written the response, which may
    then wait in buffers before it passes the capture point.
    """
    if limit is None:
        return []
    for s, products in _IDLE_LIMITS:
        if abs(limit - s * SECOND) <= max(s / 50, min(s / 10, 0.5)) * SECOND:
            return [(s, product) for product in products]
    return []


def usual_limits(server: str) -> list[int]:
    """Return the default idle timeouts (s) of the product that this Server field names.

    If the field is empty, return those of the products that often send no Server field.
    """
    return [
        seconds
        for seconds, products in _IDLE_LIMITS
        if any((not server or product.pattern != ANY) and _is(server, product) for product in products)
    ]
