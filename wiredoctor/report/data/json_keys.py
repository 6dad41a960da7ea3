"""Declare the keys of the JSON report, schema_version 1, except those of findings, connections and exchanges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

from wiredoctor.findings import LEFT_OUT_BY, SEVERITIES, UNJUDGED, Report
from wiredoctor.findings.keys import ENDPOINT, UTC, Key
from wiredoctor.report.capture_points import shared_conversations
from wiredoctor.report.coverage import SUBJECTS, find_coverage
from wiredoctor.report.groups import group_findings
from wiredoctor.report.headline import count_problems, headline

if TYPE_CHECKING:
    from wiredoctor.report.server_statistics import ServerStatistics

SCHEMA_VERSION = 1

MAX_SERVERS = 1000
"""The maximum number of servers in a report, which contains the worst ones. `servers --format json` lists all servers."""

_FIRST, _SECOND = itemgetter(0), itemgetter(1)
_MANY = (Key("", "whole", "how many", least=1),)

CAPTURE = (
    Key("file", "text", "name of the file as given, or a common name for several files that were read as one capture"),
    Key("format", "text", "pcap, pcapng or snoop"),
    Key("link_types", "texts", "link types of the capture's interfaces", item="name of a link type"),
    Key("packets", "whole", "packet records read"),
    Key("bytes", "whole", "size of the file in bytes"),
    Key(
        "first_time", "text", "timestamp of the earliest packet, at which `elapsed` is 0 (RFC 3339, UTC); null without packets",
        nullable=True, pattern=UTC,
    ),
    Key(
        "last_time", "text", "latest timestamp; the last packet may have an earlier one if the clock was set back", nullable=True,
        pattern=UTC,
    ),
    Key(
        "encapsulations", "objects",
        "encapsulations around TCP other than IP, the link layer and VLAN tags; a packet may have several",
        item="packets in an encapsulation",
        keys=(
            Key("name", "text", "VXLAN, MPLS, ...", of=_FIRST),
            Key("packets", "whole", "number of TCP packets", least=1, of=_SECOND),
        ),
        of=lambda one: sorted(one.encapsulations.items()),
    ),
    Key(
        "not_analysed", "objects", "packets of the file that were not analyzed, by reason", item="packets that were not analyzed",
        keys=(Key("reason", "text", "the reason", of=_FIRST), Key("packets", "whole", "number of packets", least=1, of=_SECOND)),
        of=lambda one: sorted(one.not_analysed.items()),
    ),
    Key(
        "files", "texts", "the files that were read as one capture; empty for a single file",
        item="name of a file, as given or found in a folder",
    ),
    Key("duplicates", "whole", "duplicate packets, which were not analyzed"),
    Key(
        "translations", "objects",
        "connections captured before and after address translation; only packets captured before the translation were analyzed",
        item="connections to a server that were captured before and after address translation (NAT)",
        keys=(
            Key(
                "server", "text", "endpoint of the server before the translation; empty for servers beyond the first 64",
                of=lambda one: one[0][0],
            ),
            Key("translated_server", "text", "endpoint of the server after the translation", of=lambda one: one[0][1]),
            Key("connections", "whole", "number of connections", least=1, of=_SECOND),
        ),
        of=lambda one: sorted(one.translations.items()),
    ),
    Key(
        "dropped", "whole", "packets dropped, as counted in the file, or overwritten by a ring; null if the file has no counter",
        nullable=True,
    ),
    Key(
        "sorted", "flag",
        "true if the file was sorted because it is far from time order. If clock_steps is 0, frame numbers are those after "
        "reordercap; otherwise they differ, because packets are not sorted across a clock step. Connection numbers are always "
        "those of the file",
    ),
    Key(
        "clock_steps", "whole",
        "how often the timestamps of an interface go backward; packets that were sorted by time do not count",
    ),
    Key("damage", "text", "the part of the file that could not be read; null if all of it was read", nullable=True),
)  # fmt: skip

ANSWERS = (
    Key(
        "server", "text", "address and port; null for the servers that `live` could not count individually in a long capture",
        nullable=True,
    ),
    Key("classes", "mapping", "number of responses by status class: 2xx, 3xx, ...", keys=_MANY),
    Key(
        "failures", "objects", "responses with status 500 or above, by status",
        item="the responses with a particular status of 500 or above",
        keys=(
            Key("status", "whole", "the status code"),
            Key("count", "whole", "number of responses", least=1),
            Key(
                "own", "mapping",
                "responses that a gateway generated itself, by the kind of their gateway-error finding; the kind shows the "
                "reason", keys=_MANY,
            ),
            Key("passed_on", "mapping", "responses that a gateway forwarded, by the server that sent them", keys=_MANY),
            Key("repeated", "whole", "responses that a gateway did not forward, because it sent the request again"),
            Key("unexplained", "whole", "responses without an explanation"),
        ),
    ),
)  # fmt: skip


def _percentile(name: str, of: str = "") -> Key:
    meaning = "time from the end of a request to the start of its response; null without a response"
    return Key(name, "seconds", meaning, nullable=True, least=0, of=attrgetter(of or name))


SERVER = (
    Key("by", "choice", "what the requests are grouped by", choices=("server",), of=lambda _: "server"),
    Key("name", "packet text", "address and port of the server", of=lambda one: one.key),
    Key(
        "names", "packet texts", "the server's most frequent Host fields or, without HTTP, its TLS server names; at most three",
        item="a name",
    ),
    Key("requests", "whole", "captured requests"),
    Key(
        "failed", "whole",
        "requests that failed according to the findings, as in the headline, including findings that were left out",
    ),
    Key("unanswered", "whole", "requests without a final response"),
    Key("incomplete", "whole", "responses with a status below 500 that were cut off"),
    Key("status_4xx", "whole", "responses with a status of 400 to 499", of=lambda one: one.client_errors),
    Key("status_5xx", "whole", "responses with a status of 500 or above", of=lambda one: one.server_errors),
    Key(
        "server_time", "object", "percentiles (nearest rank) and maximum of the server's response time",
        keys=(*map(_percentile, ("p50", "p95", "p99")), _percentile("max", "longest")), of=lambda one: one,
    ),
    Key(
        "streams", "object", "the server's event streams; a gap is the median of the gaps between the events of a stream",
        keys=(
            Key("streams", "whole", "number of event streams"),
            *(
                Key(f"{name}_{rank}", "seconds", f"{share} of the streams: {meaning}", nullable=True, least=0)
                for name, meaning in (
                    ("first_event", "at most this time from the end of the request to the first event with data"),
                    ("gap", "a gap of at most this time"),
                )
                for rank, share in (("p50", "half"), ("p95", "95 %"))
            ),
        ),
    ),
    Key("time_lost", "seconds", "sum of the delays of the server's findings", least=0),
    Key(
        "time_lost_by_rule", "mapping", "sum of the delays of the server's findings by rule, the costliest rule first",
        keys=(Key("", "seconds", "delay", least=0),), of=lambda one: one.lost,
    ),
    Key("connections", "whole", "connections to the server"),
    Key("requests_per_connection", "number", "requests per connection", nullable=True, least=0),
    Key("failed_connections", "whole", "connections to the server that failed without a request, according to the findings"),
    Key(
        "unusable_connections", "whole",
        "connections to the server that failed without a request or were never established, with or without a finding",
    ),
)  # fmt: skip

NOT_JUDGED = (
    Key("capture", "text", "name of the capture"),
    Key("connection", "whole", "connection id, equal to tcp.stream"),
    Key("exchange", "whole", "index of the exchange in its connection; null if the entry concerns the connection", nullable=True),
    Key("client", "text", "client endpoint, address:port", pattern=ENDPOINT),
    Key("server", "text", "server endpoint, address:port", pattern=ENDPOINT),
    Key("request", "packet text", "method and target of the request, with the values of the query masked", nullable=True),
    Key("reason", "choice", "the reason why it is not judged", choices=tuple(UNJUDGED)),
    Key("message", "text", "what the capture shows about the exchange or connection"),
    Key("frame", "whole", "number of the packet to look at, equal to frame.number", least=1),
    Key("time", "text", "time of the packet `frame`, RFC 3339 UTC", pattern=UTC),
    Key("elapsed", "seconds", "time of the packet `frame`, since the first packet of the capture"),
    Key(
        "waited", "seconds",
        "time from the last packet of the exchange or connection to the end of the capture; null if it had ended before",
        nullable=True,
    ),
    Key(
        "idle", "seconds", "time without data before the server cut a WebSocket, a tunnel or a response; otherwise null",
        nullable=True, least=0,
    ),
)  # fmt: skip


class Facts:
    """The facts that the keys of a report are read from. `shown`: a description of the report's filter."""

    def __init__(self, report: Report, shown: str) -> None:
        self.report, self.far = report, find_coverage(report)
        self.groups = group_findings(report.findings)
        self.headline = headline(report, self.groups, self.far, shown)

    @property
    def servers(self) -> list[ServerStatistics]:
        """The statistics of the worst servers, worst first."""
        from wiredoctor.report.server_statistics import server_statistics

        return server_statistics(self.report)[:MAX_SERVERS]


def _by_severity(name: str, meaning: str, each: str, of: Callable[[Facts], Mapping[str, int]]) -> Key:
    keys = tuple(Key(severity, "whole", f"{each} that are {severity}s", of=itemgetter(severity)) for severity in SEVERITIES)
    return Key(name, "object", meaning, keys=keys, of=of)


def _found(one: Facts) -> Counter[str]:
    return Counter(finding.severity for finding in one.report.findings)


SUMMARY = (
    Key("headline", "text", "the most important fact of the report in a sentence, as in every other format"),
    Key("connections", "whole", "TCP connections", of=lambda one: one.report.connection_count),
    Key("exchanges", "whole", "HTTP exchanges", of=lambda one: one.report.exchange_count),
    _by_severity(
        "problems", "number of problems by severity: findings of one rule, kind, side, severity and server are one problem",
        "problems", lambda one: count_problems(one.groups),
    ),
    _by_severity("findings", "number of findings (occurrences of the problems) by severity", "findings", _found),
    Key("delay", "seconds", "sum of all delays, overlaps counted once", least=0, of=lambda one: one.report.delay),
    Key(
        "checked", "objects", "what this report checked", item="connections of one kind, and the rules that checked them",
        keys=(
            Key(
                "what", "choice",
                "what was checked: connections with this protocol (seen in both directions), or the captures themselves",
                choices=SUBJECTS,
            ),
            Key("connections", "whole", "number of connections"),
            Key("exchanges", "whole", "number of HTTP exchanges on these connections"),
            Key("families", "texts", "families whose applicable rules all ran", item="name of a family"),
            Key("rules", "texts", "rules that ran although their family did not run completely", item="name of a rule"),
        ),
        of=lambda one: one.far.checked,
    ),
    Key(
        "healthy", "texts", "rules that had data to check and found nothing", item="name of a rule",
        of=lambda one: one.far.healthy,
    ),
    Key(
        "not_judged", "objects", "what was judged only in part, or not at all; for packets see not_analysed of each capture",
        item="something that was judged only in part, or not at all",
        keys=(
            Key("what", "choice", "the unit of the count", choices=("connections", "exchanges", "rules")),
            Key("count", "whole", "number of units", least=1),
            Key("reason", "text", "the reason"),
        ),
        of=lambda one: one.far.not_judged,
    ),
    Key(
        "requests", "object", "requests of the capture",
        keys=(
            Key("count", "whole", "number", of=lambda one: one.requests),
            Key("answered", "whole", "number of requests with a final response"),
        ),
        of=lambda one: one.far.answers,
    ),
    Key(
        "responses", "objects", "number of final responses by status class", item="final responses",
        keys=(
            Key("status_class", "text", "status class of the responses: 2xx, 3xx, ...", of=_FIRST),
            Key("count", "whole", "number", least=1, of=_SECOND),
        ),
        of=lambda one: one.far.answers.classes.items(),
    ),
    Key(
        "server_errors", "objects", "number of responses with a status of 500 or above, by status",
        item="a status of 500 or above",
        keys=(
            Key("status", "whole", "the status code", of=_FIRST),
            Key("count", "whole", "number of responses", least=1, of=_SECOND),
        ),
        of=lambda one: one.far.answers.failures.items(),
    ),
    Key(
        "left_out", "objects", "excluded findings: known problems, or too low confidence",
        item="findings that are excluded from this report",
        keys=(
            Key(
                "by", "choice", "what excluded the findings: an entry of the configuration, a baseline, or --min-confidence",
                choices=LEFT_OUT_BY,
            ),
            Key("reason", "text", "the reason in the entry, the file of the baseline, or the minimum confidence"),
            Key("findings", "whole", "number of findings", least=1),
            Key("rules", "texts", "rules of these findings", item="name of a rule"),
        ),
        of=lambda one: one.report.left_out,
    ),
    Key(
        "rules", "objects", "findings of each rule in all captures, before a limit, a baseline or the configuration excluded any",
        item="a rule that found something",
        keys=(
            Key("rule", "text", "name of the rule", of=_FIRST),
            Key("findings", "whole", "number of findings", least=1, of=lambda one: one[1].findings),
            Key(
                "delay", "seconds", "sum of the delays of these findings, overlaps counted once",
                of=lambda one: round(one[1].delay, 9),
            ),
        ),
        of=lambda one: sorted(one.report.totals.items()),
    ),
    Key(
        "incomplete", "texts",
        "reasons why this report does not cover all that was requested, for example a capture that was not read to its end",
        item="a sentence", of=lambda one: one.report.incomplete,
    ),
    Key(
        "shared_conversations", "whole",
        "TCP connections that several captures contain; their requests and findings count once per capture",
        of=lambda one: shared_conversations(one.report).conversations,
    ),
)  # fmt: skip

HEAD = (
    Key(
        "schema_version", "choice", "within a version, keys may be added and no key changes its meaning",
        choices=(SCHEMA_VERSION,), of=lambda _: SCHEMA_VERSION,
    ),
    Key(
        "tool", "object", "the program that wrote the report",
        keys=(
            Key("name", "choice", "", choices=("wiredoctor",), of=lambda _: "wiredoctor"),
            Key("version", "text", "version of the program"),
        ),
        of=lambda one: one,
    ),
    Key("secrets", "flag", "true if targets, names and payload are shown as sent (--show-secrets); false if they are masked"),
)  # fmt: skip
"""The keys with which every JSON object begins that wiredoctor writes about a report."""

BODY = (
    Key(
        "captures", "objects", "the files that were read", item="a capture file that was read", keys=CAPTURE,
        of=lambda one: one.report.captures,
    ),
    Key("summary", "object", "numbers of the whole report", keys=SUMMARY, of=lambda one: one),
    Key(
        "limits", "texts", "limits of wiredoctor that this analysis reached", item="what was omitted, and the limit",
        of=lambda one: one.report.limits,
    ),
    Key(
        "answers", "objects", "final responses by server, servers with most failures first",
        item="the final responses of a server", keys=ANSWERS, of=lambda one: one.far.servers,
    ),
    Key(
        "servers", "objects", f"requests, failures and response times of the {MAX_SERVERS:,} worst servers, worst first",
        item="the requests to a server, and the server's responses", keys=SERVER,
    ),
    Key(
        "not_judged", "objects", "exchanges and connections that ended abnormally without a finding, the worst reasons first",
        item="an exchange or a connection that ended abnormally and that no finding explains", keys=NOT_JUDGED,
        of=lambda one: one.report.not_judged,
    ),
)  # fmt: skip
"""The keys after HEAD and before the findings. They are read from Facts."""
