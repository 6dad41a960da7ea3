"""Reports made by hand, as realistic as they are hostile, for the tests of everything that tells a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tests.support.analysis import analyze_bytes
from wiredoctor import tables
from wiredoctor.findings import CaptureSummary, Checked, Evidence, Finding, Reference, Report, fingerprint, printable
from wiredoctor.testing import capture as ladder_capture
from wiredoctor.text.redact_tables import redact_table

MS = tables.MILLISECOND
HOSTILE = "GET /\x1b[2J\x1b]0;owned\x07[bold red]x[/bold red]\r\n\u009b31m" + "A" * 300

NAGLE_REMEDY = (
    "Write head and body in one call (writev, a buffered writer that is flushed once, MSG_MORE), "
    "or set TCP_NODELAY on the server's sockets. In nginx: tcp_nodelay on (the default) and tcp_nopush with sendfile."
)


def report_of(ladder: str, folder: Path) -> Report:
    """Analyze the conversation that a ladder describes (wiredoctor.testing)."""
    return analyze_bytes(folder / "some.pcap", ladder_capture(ladder))


def finding(**changes: Any) -> Finding:
    """A Nagle stall of 200 ms on connection 3, exchange 2, unless said otherwise."""
    values: dict[str, Any] = {
        "rule": "nagle-delayed-ack",
        "family": "stalls",
        "kind": "head-body-split",
        "side": "server",
        "severity": "warning",
        "confidence": "high",
        "title": "Nagle's algorithm met a delayed ACK",
        "message": "The server sent the head of its response alone (38 bytes), and the body (5 bytes) had to wait for the "
        "client's delayed ACK: 200 ms for nothing. The timer is that of older Windows.",
        "client": "10.0.0.1:51234",
        "server": "10.0.0.2:80",
        "capture": "trace.pcap",
        "connection": 3,
        "exchange": 2,
        "request": "GET /items?id=(masked)",
        "status": 200,
        "time": "2026-01-31T12:00:00.022000000Z",
        "elapsed": 0.022,
        "delay": 0.2,
        "count": 1,
        "measures": {"delay": 0.2, "held_bytes": 5},
        "evidence": (
            Evidence(5, 0.022, "the head of the response leaves alone, 38 bytes"),
            Evidence(6, 0.222, "the client acknowledges it, 200 ms late"),
            Evidence(7, 0.232123456, "the body follows at once, 5 bytes"),
        ),
        "remedy": NAGLE_REMEDY,
        "references": (Reference("RFC 1122 section 4.2.3.4", "https://www.rfc-editor.org/rfc/rfc1122#section-4.2.3.4"),),
        "display_filter": "tcp.stream == 3 && frame.number in {5, 6, 7}",
        "client_software": "curl/8.5.0",
        "server_software": None,
    }
    values.update(changes)
    values.setdefault(
        "fingerprint", fingerprint(values["rule"], values["kind"], values["side"], values["server"], "GET", "/items")
    )
    return Finding(**values)


def capture_loss(**changes: Any) -> Finding:
    """A finding about a whole capture."""
    values: dict[str, Any] = {
        "rule": "capture-loss",
        "family": "capture",
        "kind": None,
        "side": None,
        "severity": "warning",
        "title": "The capture lacks packets",
        "message": "14,480 bytes were acknowledged that are not in the capture, in 3 places.",
        "client": None,
        "server": None,
        "connection": None,
        "exchange": None,
        "request": None,
        "status": None,
        "delay": None,
        "evidence": (Evidence(812, 4.5, "acknowledges 4,344 bytes that are not in the capture"),),
        "remedy": "Capture again with a larger buffer: tcpdump -B 32768 -s 0.",
        "references": (),
        "client_software": None,
        "display_filter": "tcp.analysis.ack_lost_segment",
        "measures": {"bytes": 14480, "places": 3},
    }
    return finding(**{**values, **changes})


def hostile_finding() -> Finding:
    """Everything from packets tries to take over the terminal."""
    return finding(
        rule="premature-close",
        family="lifetime",
        kind=None,
        severity="warning",
        title="A connection that was expected to be kept alive was closed by the server",
        message=f"The server closed after {printable(HOSTILE)} although [link=http://evil]nothing[/link] said so.",
        client="[2001:db8:85a3:8d3:1319:8a2e:370:7348]:54321",
        server="[2001:db8:ffff:ffff:ffff:ffff:ffff:fffe]:8080",
        request=printable(HOSTILE),
        status=401,
        delay=None,
        connection=11,
        exchange=0,
        elapsed=1.5,
        evidence=(Evidence(120, 1.5, "[blink]the response[/blink] ends"), Evidence(121, 1.5000004, "FIN of the server")),
        remedy="Say Connection: close on the response that ends the connection.",
        references=(Reference("RFC 9112 section 9.6", "https://www.rfc-editor.org/rfc/rfc9112#section-9.6"),),
        display_filter="tcp.stream == 11 && (tcp.flags.fin == 1 || http)",
    )


def capture(**changes: Any) -> CaptureSummary:
    """A capture of two seconds."""
    values: dict[str, Any] = {
        "file": "trace.pcap",
        "format": "pcap",
        "link_types": ["Ethernet"],
        "packets": 1234,
        "bytes": 1_460_000,
        "first_time": "2026-01-31T12:00:00.000000000Z",
        "last_time": "2026-01-31T12:00:12.500000000Z",
        "not_analysed": {"UDP": 12, "ARP": 3},
    }
    return CaptureSummary(**{**values, **changes})


def connection(number: int, **changes: Any) -> dict[str, Any]:
    """A row of tables.CONNECTIONS, with `capture`."""
    values = _defaults(tables.CONNECTIONS)
    values |= {
        "capture": "trace.pcap",
        "connection": number,
        "client": f"10.0.0.1:{51000 + number}",
        "server": "10.0.0.2:80",
        "client_host": "10.0.0.1",
        "packets": 10,
        "client_packets": 5,
        "server_packets": 5,
        "client_bytes": 120,
        "server_bytes": 4321,
        "first_frame": 1 + 10 * number,
        "last_frame": 10 + 10 * number,
        "start": number * 100 * MS,
        "end": number * 100 * MS + 44_123_456,
        "handshake": True,
        "rtt_client": 10_000,
        "rtt_server": 10 * MS,
        "protocol": "http",
        "history": "ShADadFf",
        "closed_by": "server",
        "close": "fin",
    }
    return values | changes


def exchange(number: int, index: int = 0, **changes: Any) -> dict[str, Any]:
    """A row of tables.EXCHANGES, with `capture`: 1 ms of request, 30 ms of server, 13.123456 ms of response."""
    start = number * 100 * MS + index * 60 * MS
    values = _defaults(tables.EXCHANGES)
    values |= {
        "capture": "trace.pcap",
        "connection": number,
        "exchange": index,
        "has_request": True,
        "has_response": True,
        "both_directions": True,
        "request_frame": 4 + 10 * number,
        "request_last_frame": 4 + 10 * number,
        "request_start": start,
        "request_end": start + MS,
        "request_head_bytes": 120,
        "request_body_bytes": 0,
        "request_framing": "none",
        "request_end_reason": "complete",
        "request_version": "HTTP/1.1",
        "request_method": "GET",
        "request_target": f"/items/{number}?id={index}&token=secret",
        "request_host": "www.example.com",
        "response_frame": 6 + 10 * number,
        "response_last_frame": 8 + 10 * number,
        "response_start": start + 31 * MS,
        "response_end": start + 44_123_456,
        "response_head_bytes": 321,
        "response_body_bytes": 4000,
        "response_framing": "content-length",
        "response_end_reason": "complete",
        "response_version": "HTTP/1.1",
        "response_status": 200,
        "response_reason": "OK",
        "persistent": True,
        "request_time": MS,
        "server_time": 30 * MS,
        "response_time": 13_123_456,
    }
    return values | changes


def without_response() -> dict[str, Any]:
    """What a row has where no response was captured."""
    blank = {n: v for n, v in _defaults(tables.EXCHANGES).items() if n.startswith("response_")}
    return {**blank, "has_response": False, "server_time": None, "response_time": None, "persistent": False}


def without_request() -> dict[str, Any]:
    """What a row has where the capture began after the request."""
    blank = {n: v for n, v in _defaults(tables.EXCHANGES).items() if n.startswith("request_")}
    return {**blank, "has_request": False, "request_time": None, "server_time": None}


def report(
    findings: list[Finding] | None = None,
    connections: list[dict[str, Any]] | None = None,
    exchanges: list[dict[str, Any]] | None = None,
    captures: list[CaptureSummary] | None = None,
    **changes: Any,
) -> Report:
    """A Report over these rows; the tables come in the order given, as a pipeline may."""
    findings, connections, exchanges = findings or [], connections or [], exchanges or []
    values: dict[str, Any] = {
        "version": "0.1.0",
        "captures": [capture()] if captures is None else captures,
        "findings": findings,
        "delay": round(sum(f.delay or 0 for f in findings), 9),
        "checked": {"nagle-delayed-ack": Checked("stalls", "releases"), "premature-close": Checked("lifetime", "exchanges")},
        "connection_count": len(connections),
        "exchange_count": len(exchanges),
        "scan_connections": lambda: _table(tables.CONNECTIONS, connections).lazy(),
        "scan_exchanges": lambda: redact_table("exchanges", _table(tables.EXCHANGES, exchanges).lazy()),
    }
    return Report(**{**values, **changes})


def _table(table: tables.Table, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"capture": pl.String(), **table.schema}, orient="row")


def _defaults(table: tables.Table) -> dict[str, Any]:
    def default(c: tables.Column) -> Any:
        if c.nullable:
            return None
        if c.dtype == pl.String:
            return ""
        if c.dtype == pl.Boolean:
            return False
        return [] if isinstance(c.dtype, pl.List) else 0

    return {c.name: default(c) for c in table.columns}
