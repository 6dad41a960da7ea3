"""Name the products whose default idle timeout matches an observed idle time."""

from __future__ import annotations

import re
from functools import lru_cache

import polars as pl

from wiredoctor.tables import MILLISECOND, SECOND
from wiredoctor.world.numbers import map_numbers
from wiredoctor.world.products import Setting, names, settings

_BETWEEN_EXCHANGES = settings("idle", "server")
_WITHOUT_PAYLOAD = settings("silence")

NEAR_SHARE = 0.005
NEAR = 50 * MILLISECOND
"""The minimum tolerance in ns within which a time without payload matches a timeout: proxies check connections only now and then.

The tolerance is NEAR_SHARE of the timeout if that is longer.
"""


def default_of_server(limit: int | None, server: str) -> str:
    """Return the software with this default idle timeout (ns): "; 5 s is the default of Apache httpd (...)". Return "" if there
    is none.

    `server`: the Server field. Only products that it names are returned. If it is empty, only products that often send no Server
    field are returned.
    """
    whose = [one for one in _near(limit) if _is(server, one)]
    return f"; {whose[0].default} s is the default of {names(whose)}" if whose else ""


def _is(server: str, one: Setting) -> bool:
    """Return whether a server may be this product, or be behind it. `server`: its Server field, "" if it sends none."""
    if not server:
        return one.field != "own"
    known = [other.pattern for other in _BETWEEN_EXCHANGES if other.field != "forwarded"]
    patterns = known if one.field == "forwarded" else [one.pattern]
    return any(re.search(pattern, server, re.IGNORECASE) for pattern in patterns)


def is_default(limit: pl.Expr) -> pl.Expr:
    """Return whether this idle timeout (ns) is a common default."""
    return map_numbers(limit, lambda ns: bool(_near(ns)), pl.Boolean())


@lru_cache(maxsize=1024)
def _near(limit: int | None) -> list[Setting]:
    """Return the settings of servers whose default is near a measured idle timeout (ns).

    A timer may expire late. It may also seem to expire early: the server starts it when it has written the response, which may
    then wait in buffers before it passes the capture point.
    """
    if limit is None:
        return []
    return [
        one for one in _BETWEEN_EXCHANGES if abs(limit - one.time) <= max(one.time / 50, min(one.time / 10, 500 * MILLISECOND))
    ]


def usual_limits(server: str) -> list[int]:
    """Return the default idle timeouts (s) of the product that this Server field names.

    If the field is empty, return those of the products that often send no Server field.
    """
    known = (one for one in _BETWEEN_EXCHANGES if (not server or one.field != "forwarded") and _is(server, one))
    return sorted({one.time // SECOND for one in known})


def limit_near(rest: int) -> int | None:
    """Return the default timeout (ns) of an intermediary that matches this time without payload (ns); None if there is none."""
    limits = sorted({one.time for one in _WITHOUT_PAYLOAD})
    return next((limit for limit in limits if abs(rest - limit) <= max(NEAR, round(limit * NEAR_SHARE))), None)


def names_of_limit(limit: int) -> str:
    """Return the names of the intermediaries with this default timeout (ns): "nginx (proxy_read_timeout) and of Apache httpd
    (ProxyTimeout)".
    """
    return names([one for one in _WITHOUT_PAYLOAD if one.time == limit])
