"""The whole way: any bytes as a capture file, through all stages, to every form of the report."""

from __future__ import annotations

import zlib
from pathlib import Path

import polars as pl

import wiredoctor
from tests.fuzzing.checks import as_text, check_report, check_shown, check_tables, frames_of, same_tables
from tests.fuzzing.copies import check_copies
from tests.fuzzing.guard import must
from tests.fuzzing.places import as_file
from tests.pipeline.feeding import tables
from wiredoctor import gateways
from wiredoctor.capture import CaptureError
from wiredoctor.rule_engine.across_tries import CertainTries, tries_of

SHORT = 600
"""Packets up to which a capture is also read in small steps, and its tables are checked."""
SAME_CLIENT = ("client-abort", "keep-alive-race")
"""Rules whose proof may include other connections of the client, which it closed at once or on which it repeated a request."""

SAME_SERVER = ("connect-failed",)
"""Rules whose proof may include other connections to the server, which it accepted before."""


def run(data: bytes, thorough: int | None = None) -> None:
    """`thorough`: which of the costlier checks are made too; by default the content decides, so that each input has some."""
    with as_file(data) as path:
        try:
            report = wiredoctor.analyze(path, keep=True)
        except CaptureError as error:
            _one_line(error)
            return
        choice = zlib.crc32(data) if thorough is None else thorough
        parsed = check_report(report, schema=choice % 4 == 0 and len(report.findings) < 200)
        check_shown(report)
        check_copies(report, path)
        packets = sum(c.packets for c in report.captures)
        if packets > SHORT:
            return
        if choice % 3 == 0:
            step = (1, 2, 5, 17)[choice // 3 % 4] if packets <= 60 else (5, 17, 100)[choice // 3 % 3]
            other = wiredoctor.analyze(path, epoch_packets=step)
            _same_report(as_text(report), as_text(other), step)
        elif choice % 3 == 1:
            _check_tables(path, packets, parsed)


def _one_line(error: CaptureError) -> None:
    must("\n" not in str(error) and str(error).isprintable(), "a file that cannot be read is told in one line", str(error))


def _same_report(whole: bytes, parts: bytes, step: int) -> None:
    if whole != parts:
        pairs = zip(whole.split(b"\n"), parts.split(b"\n"), strict=False)
        first = next(((a, b) for a, b in pairs if a != b), (whole[-200:], parts[-200:]))
        must(False, "the report does not depend on steps", step, *first)


def _check_tables(path: Path, packets: int, parsed: dict[str, object]) -> None:
    """Check the tables, with and without that of messages, and that evidence is on the connection that it is about.

    It may also be on the other side of a gateway, or on another connection of the client or to the server (see SAME_CLIENT and
    SAME_SERVER)."""
    seen = tables(path, messages=False, in_order=True)
    check_tables(seen, packets)
    detailed = tables(path, in_order=True)
    same_tables({name: frame for name, frame in seen.items() if name != "messages"}, detailed, "with messages")
    connection_of = {**frames_of(seen["segments"]), **frames_of(seen["icmp_errors"])}
    behind = _behind(seen)
    clients = dict(seen["connections"].select("connection", "client_host").iter_rows())
    servers = dict(seen["connections"].select("connection", "server").iter_rows())
    for finding in parsed["findings"]:  # type: ignore[attr-defined]
        if finding["connection"] is None or finding["rule"] == "duplicate-packets":
            continue
        if finding["kind"] == "tried-next":
            continue  # the address that answered is another server, perhaps of IPv4 while this one is of IPv6
        mine = {finding["connection"]}
        if finding["rule"] in ("gateway-error", "buffered-stream"):
            mine |= behind.get(finding["connection"], set())
        if finding["rule"] in SAME_CLIENT:
            mine |= {connection for connection, client in clients.items() if client == clients[finding["connection"]]}
        if finding["rule"] in SAME_SERVER:
            mine |= {connection for connection, server in servers.items() if server == servers[finding["connection"]]}
        outside = [e["frame"] for e in finding["evidence"] if connection_of.get(e["frame"]) not in mine]
        must(not outside, f"evidence of {finding['rule']} is of its connection", outside, finding["connection"])


def _behind(seen: dict[str, pl.DataFrame]) -> dict[int, set[int]]:
    """Connection at the front of a gateway -> those of its tries, and of the tries of these."""
    known = gateways.find(seen["exchanges"].lazy(), seen["connections"].lazy())
    tried = CertainTries(tries_of(known)).whole_chain().select("front_connection", "connection")
    behind: dict[int, set[int]] = {}
    for front, back in tried.iter_rows():
        behind.setdefault(front, set()).add(back)
    return behind
