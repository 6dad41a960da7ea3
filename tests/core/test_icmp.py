"""ICMP errors that quote TCP: whose they are, where in the stream, and which of them nobody can place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import wiredoctor
from tests.core.feeding import tables
from tests.icmp import CONNECT, CONNECT6, ROUTER4, ROUTER6, Error, capture
from wiredoctor import limits

SYN = "  0.000  >  S    mss 1460\n"
REQUEST = '  0.011  >  P.   "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"\n'
"""27 bytes."""
DATA = "  0.012  >  .    28:1488(1460)\n"


def write(folder: Path, ladder: str, *errors: Error) -> Path:
    path = folder / "errors.pcap"
    path.write_bytes(capture(ladder, *errors))
    return path


def rows(folder: Path, ladder: str, *errors: Error) -> list[dict[str, Any]]:
    return tables(write(folder, ladder, *errors))["icmp_errors"].to_dicts()


def test_a_row(tmp_path: Path) -> None:
    assert rows(tmp_path, CONNECT + REQUEST + DATA, Error(0.02, 5, 3, 4, mtu=1200)) == [
        {
            **{"frame": 6, "time": 20_000_000, "router": ROUTER4, "ip_version": 4, "type": 3, "code": 4, "mtu": 1200},
            **{"connection": 0, "direction": 0, "offset": 27, "syn": False},
        }
    ]


def test_a_row_of_ipv6(tmp_path: Path) -> None:
    assert rows(tmp_path, CONNECT6 + REQUEST + DATA, Error(0.02, 5, 2, 0, mtu=70_000)) == [
        {
            **{"frame": 6, "time": 20_000_000, "router": ROUTER6, "ip_version": 6, "type": 2, "code": 0, "mtu": 70_000},
            **{"connection": 0, "direction": 0, "offset": 27, "syn": False},
        }
    ]


@pytest.mark.parametrize("kept", [8, 15, 16, 20, None])
@pytest.mark.parametrize(
    ("quoted", "direction", "offset", "syn"),
    [(1, 0, 0, True), (2, 1, 0, True), (3, 0, 0, False), (4, 0, 0, False), (5, 0, 27, False)],
)
def test_what_is_quoted(kept: int | None, quoted: int, direction: int, offset: int, syn: bool, tmp_path: Path) -> None:
    """RFC 792 requires 8 bytes of TCP only: ports and sequence number."""
    [row] = rows(tmp_path, CONNECT + REQUEST + DATA, Error(0.02, quoted, 3, 1, kept=kept))
    assert (row["connection"], row["direction"], row["offset"], row["syn"]) == (0, direction, offset, syn)


@pytest.mark.parametrize(("type", "code", "mtu"), [(3, 4, 0), (3, 1, 1200), (11, 0, 1200)])
def test_errors_that_name_no_mtu(type: int, code: int, mtu: int, tmp_path: Path) -> None:
    """Old routers leave it 0 (RFC 1191 section 5), and in other errors the field means something else."""
    assert rows(tmp_path, CONNECT, Error(0.02, 3, type, code, mtu=mtu))[0]["mtu"] is None


def test_an_acknowledgment_is_no_syn(tmp_path: Path) -> None:
    """A keep-alive probe before the first byte has the sequence number of the SYN."""
    probe = "  9.000  >  .    0:0(0)\n"
    [row] = rows(tmp_path, CONNECT + probe, Error(9.02, 4, 3, 1))
    assert (row["syn"], row["offset"]) == (False, -1)


def test_a_capture_that_begins_later(tmp_path: Path) -> None:
    """Without the SYN the first byte seen is byte 0; nothing is a SYN."""
    later = CONNECT.replace("1460\n", "1460 uncaptured\n").replace(">  .", ">  .    uncaptured")
    [row] = rows(tmp_path, later + REQUEST + DATA, Error(0.02, 2, 3, 4, mtu=1200))
    assert (row["offset"], row["syn"]) == (27, False)


@pytest.mark.parametrize("kept", [8, 20, None])
def test_nat_changed_the_addresses(kept: int | None, tmp_path: Path) -> None:
    """The error quotes a packet that is not in the capture: it is counted, and has no part in the connection."""
    path = write(tmp_path, SYN, Error(0.02, 1, 3, 13, kept=kept, source="192.0.2.7"))
    [row] = tables(path)["icmp_errors"].to_dicts()
    assert (row["direction"], row["offset"], row["syn"]) == (None, None, False)
    report = wiredoctor.analyze(path)
    assert report.captures[0].not_analysed == {"ICMP error about a connection that is not in the capture": 1}
    assert report.findings == []
    assert report.connections.height == 1


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (Error(0.02, 1, 5, 1), {"ICMP": 1}),
        (Error(0.02, 1, 0, 0), {"ICMP": 1}),
        (Error(0.02, 1, 3, 1, kept=7), {"ICMP error that quotes too little of a TCP header": 1}),
        (Error(0.02, 1, 3, 1), {}),
        (Error(0.02, 1, 3, 1, kept=8), {}),
    ],
)
def test_what_is_not_analyzed(error: Error, counted: dict[str, int], tmp_path: Path) -> None:
    """Redirects (type 5) and echoes are no errors; nothing is counted that is read."""
    assert wiredoctor.analyze(write(tmp_path, SYN, error)).captures[0].not_analysed == counted


def test_an_error_before_the_first_packet_of_its_connection(tmp_path: Path) -> None:
    """The capture began between the first SYN and the answer to it: where the packet belongs is told, and no more."""
    path = write(tmp_path, SYN.replace("0.000", "0.010") + "  1.010  >  S    mss 1460\n", Error(0.001, 1, 3, 1))
    [row] = tables(path)["icmp_errors"].to_dicts()
    assert (row["frame"], row["connection"], row["direction"], row["offset"], row["syn"]) == (1, 0, None, None, False)
    assert wiredoctor.analyze(path).captures[0].not_analysed == {}


def test_rows_come_with_their_connection(tmp_path: Path) -> None:
    """So that a rule can join them, however many packets are read at a time."""
    path = write(tmp_path, CONNECT + REQUEST + DATA, *(Error(0.02 + n, 5, 3, 4, mtu=1200) for n in range(3)))
    whole = tables(path)["icmp_errors"]
    assert whole["frame"].to_list() == [6, 7, 8]
    for most in (1, 2, 7):
        assert tables(path, most)["icmp_errors"].equals(whole)


def test_a_flood_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.ICMP_ERRORS, "value", 2)
    path = write(tmp_path, SYN, *(Error(0.02 + n, 1, 3, 13) for n in range(5)))
    assert tables(path)["icmp_errors"]["frame"].to_list() == [2, 3]
    assert any("3 later ones were left out" in sentence for sentence in wiredoctor.analyze(path).limits)
