"""Compare servers that get the same requests: parts of a request that tell whether two requests need the same work."""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Threshold

c = pl.col

LISTED = Threshold("5 servers", "the maximum number of other servers that the message lists; it only counts the rest")

_MONITORING = (
    "(?i)^(Prometheus|vm_promscrape|Grafana ?(Agent|Alloy)|Alloy/|OpenTelemetry Collector|otelcol|Telegraf|Datadog|Zabbix"
    "|kube-probe|ELB-HealthChecker|GoogleHC|Consul Health Check|Envoy/HC)"
)
"""A pattern for the User-Agent of programs that send the same requests to different kinds of servers."""

_METRICS = r"^(?:[A-Za-z]+://[^/?#]*)?/(metrics|actuator/prometheus)(\?|$)"
"""A pattern for the target of requests for a server's metrics, which differ between servers."""

_CHECKS = r"(?i)^[^?#]*/[-_]?(health([-_]?check|z|y)?(/(live|ready)[a-z]*)?|ready(z|ness)?|live(z|ness)|ping)/?(\?|$)"
"""A pattern for the target of health checks: a server that is about to stop answers 503, so that a balancer leaves it out."""

_NO_NAME = r"^(\[|[0-9.]+(:[0-9]+)?$)"
"""A pattern for a Host field that does not name the site, because it is an address."""


def is_monitoring() -> pl.Expr:
    """Return whether a monitoring program sent a request, or whether it asks for metrics or for the server's health."""
    by_target = c("request_target").str.contains(_METRICS) | c("request_target").str.contains(_CHECKS)
    return (c("request_user_agent").str.contains(_MONITORING) | by_target).fill_null(value=False)


def comparable_site() -> pl.Expr:
    """Return the name of the site with 0 in place of each digit, or the server's port if the Host field is an address.

    Different ports of addresses are often different services. The column `server` is needed.
    """
    host = c("request_host").str.to_lowercase()
    site = host.str.replace(r":[0-9]+$", "").str.replace_all("[0-9]+", "0")
    return pl.when(host.str.contains(_NO_NAME)).then(c("server").str.extract(r"(:[0-9]+)$")).otherwise(site).alias("site")


def comparable_path() -> pl.Expr:
    """Return the path of the target with 0 in place of each number."""
    path = c("request_target").str.extract(r"^(?:[A-Za-z]+://[^/?#]*)?([^?#]*)").fill_null("").str.replace_all("[0-9]+", "0")
    return path.alias("path")
