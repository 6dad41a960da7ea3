"""Ladders read as HTTP: the exchanges that the analysis sees in a conversation."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.ladders import Packet, ladder_packets, to_pcap
from tests.support.analysis import analyze_bytes
from wiredoctor.findings import Report
from wiredoctor.report.data import json as report_json

HANDSHAKE = """
0.000 > S mss 1460
0.010 < S. mss 1460
0.010 > .
"""

RULES = ("damaged-file",)
"""Exchanges do not depend on rules: one that costs nothing is enough here."""


def analyzed(packets: Sequence[Packet] | bytes, **how: Any) -> Report:
    """The report of these packets (or of this capture file), with all that was sent."""
    how.setdefault("show_secrets", True)
    with tempfile.TemporaryDirectory() as folder:
        content = packets if isinstance(packets, bytes) else to_pcap(packets)
        return analyze_bytes(Path(folder) / "talk.pcap", content, select=RULES, **how)


def exchanges(text: str, handshake: str = HANDSHAKE, **how: Any) -> list[dict[str, Any]]:
    """The exchanges of a ladder, in order, as rows of tables.EXCHANGES. The handshake is put in front."""
    return rows(analyzed(ladder_packets(handshake + text), **how))


def rows(report: Report) -> list[dict[str, Any]]:
    """The exchanges of a report, in order."""
    return report.exchanges.sort("connection", "exchange").to_dicts()


def connections(text: str, handshake: str = HANDSHAKE, **how: Any) -> list[dict[str, Any]]:
    """The connections of a ladder, in order, as rows of tables.CONNECTIONS."""
    return analyzed(ladder_packets(handshake + text), **how).connections.sort("connection").to_dicts()


def as_json(text: str, handshake: str = HANDSHAKE, **how: Any) -> dict[str, Any]:
    """The JSON report of a ladder, with connections and exchanges."""
    out = io.BytesIO()
    report_json.write(analyzed(ladder_packets(handshake + text), **how), out, full=True)
    return json.loads(out.getvalue())


def brief(exchange: dict[str, Any]) -> str:
    """An exchange in one line: `GET / -> 200 content-length 5 complete`; what was not captured is `-`."""
    request = f"{exchange['request_method']} {exchange['request_target']}" if exchange["has_request"] else "-"
    if not exchange["has_response"]:
        return f"{request} -> -"
    interim = "".join(f"{code} " for code in exchange["interim"])
    response = f"{exchange['response_status']} {exchange['response_framing']} {exchange['response_body_bytes']}"
    return f"{request} -> {interim}{response} {exchange['response_end_reason']}"


def briefs(text: str, handshake: str = HANDSHAKE, **how: Any) -> list[str]:
    """The exchanges of a ladder, a line each."""
    return [brief(e) for e in exchanges(text, handshake, **how)]
