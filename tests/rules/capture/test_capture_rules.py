"""Rules about the capture on tables made by hand."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from tests.rules.frames import S, connection, found, rows
from wiredoctor.rules.capture import encrypted
from wiredoctor.rules.shared.evidence import one_capture_candidate
from wiredoctor.testing import findings


def test_bytes_that_were_acknowledged_but_not_captured() -> None:
    lossy = {"client_unseen_bytes": 10, "server_unseen_bytes": 90, "acked_unseen_count": 2}
    table = rows(
        "connections",
        connection(),
        connection(connection=1, unseen_frame=30, unseen_time=3 * S, **lossy),
        connection(connection=2, unseen_frame=20, unseen_time=2 * S, **lossy),
        connection(connection=3, unseen_frame=10, unseen_time=1 * S, server_packets=0, **lossy),
    )
    [loss] = found("capture-loss", table)
    assert (loss["missing_bytes"], loss["places"], loss["place_word"]) == (200, 4, "places")
    assert (loss["touched"], loss["connections"], loss["part"]) == (2, 4, " (50.0 %)")
    assert [(e["frame"], e["time"]) for e in loss["evidence"]] == [(20, 2 * S), (30, 3 * S)]
    assert (loss["frame"], loss["start"], loss["connection"], loss["side"]) == (20, 2 * S, None, None)


@pytest.mark.parametrize(("compressed", "speaks"), [(0, True), (1, True), (2, False)])
def test_bytes_that_compressed_packets_may_contain(compressed: int, speaks: bool) -> None:
    lossy = connection(client_unseen_bytes=10, acked_unseen_count=2, unseen_frame=30, unseen_time=S)
    captures = rows("captures", {"compressed": compressed})
    assert len(found("capture-loss", rows("connections", lossy), captures)) == speaks


@pytest.mark.parametrize(
    ("changes", "speaks"),
    [
        pytest.param({}, False, id="a probe may have been the first packet"),
        pytest.param({"server_unseen_bytes": 1, "acked_unseen_count": 2}, False, id="one of each side"),
        pytest.param({"handshake": True}, True, id="the number was known"),
        pytest.param({"client_unseen_bytes": 2}, True, id="two bytes are no probe"),
    ],
)
def test_a_keep_alive_probe_is_no_loss(changes: dict[str, Any], speaks: bool) -> None:
    probe = {"handshake": False, "unseen_frame": 2, "unseen_time": S, "acked_unseen_count": 1, "client_unseen_bytes": 1}
    assert bool(found("capture-loss", rows("connections", connection(**probe | changes)))) is speaks


def test_a_share_is_said_only_of_a_part() -> None:
    one = connection(unseen_frame=30, unseen_time=3 * S, acked_unseen_count=1, client_unseen_bytes=10)
    [loss] = found("capture-loss", rows("connections", one))
    assert (loss["touched"], loss["connections"], loss["part"], loss["place_word"]) == (1, 1, "", "place")


def test_at_most_five_places_are_shown() -> None:
    many = [
        connection(connection=i, unseen_frame=100 - i, unseen_time=i, acked_unseen_count=1, client_unseen_bytes=9)
        for i in range(9)
    ]
    [loss] = found("capture-loss", rows("connections", *many))
    assert [e["frame"] for e in loss["evidence"]] == [92, 93, 94, 95, 96]


def test_facts_are_kept_of_what_is_shown_alone() -> None:
    many = rows(
        "connections", *(connection(connection=i, cut_heads=i % 2, cut_frame=100 + i, cut_time=i * S) for i in range(100))
    )
    facts = ["cut_heads"]
    [told] = one_capture_candidate(many.lazy(), pl.col("cut_heads") > 0, facts, "cut_frame", "cut_time", 5).collect().to_dicts()
    assert (told["touched"], told["connections"]) == (50, 100)
    assert told["shown"] == [{"connection": i, "frame": 100 + i, "time": i * S, "cut_heads": 1} for i in (1, 3, 5, 7, 9)]


def test_nothing_missing() -> None:
    assert found("capture-loss", rows("connections", connection())) == []


def test_a_damaged_file() -> None:
    whole = {"capture": "a.pcap", "format": "pcap", "packets": 7, "bytes": 900, "last_frame": 7, "last_time": 3 * S}
    assert found("damaged-file", rows("captures", whole)) == []
    [damage] = found("damaged-file", rows("captures", whole | {"damage": "the file ends inside packet 8."}))
    assert (damage["damage"], damage["packets"], damage["start"]) == ("The file ends inside packet 8", 7, 3 * S)
    assert damage["how_far"] == "to its end"
    assert damage["cure"].startswith("Copy the file again")
    assert [e["frame"] for e in damage["evidence"]] == [7]


def test_a_file_without_a_readable_packet() -> None:
    [damage] = found("damaged-file", rows("captures", {"capture": "a.pcap", "damage": "no packet record is readable"}))
    assert (damage["evidence"], damage["how_far"]) == ([], "at all")


def test_one_sided_connections_are_counted() -> None:
    table = rows(
        "connections",
        connection(),
        connection(connection=1, one_sided=True, server_packets=0, first_frame=9, start=4 * S),
        connection(connection=2, one_sided=True, client_packets=0, first_frame=7, start=3 * S),
        connection(connection=3, one_sided=True, client_packets=0, first_frame=8, start=3 * S),
    )
    whole = rows("captures", {"last_time": 9 * S})
    [one] = found("one-sided", table, whole)
    assert (one["one_sided"], one["connections"], one["client_only"], one["server_only"]) == (3, 4, 1, 2)
    assert [e["frame"] for e in one["evidence"]] == [7, 8, 9]
    assert (one["frame"], one["start"], one["first_connection"]) == (7, 3 * S, 1)
    assert found("one-sided", rows("connections", connection()), whole) == []


def test_offloaded_segments_are_counted() -> None:
    table = rows(
        "connections",
        connection(),
        connection(connection=1, super_segments=4, super_frame=20, super_time=2 * S, super_mss=1460),
        connection(connection=2, super_segments=1, super_frame=10, super_time=1 * S, super_mss=1380),
    )
    [one] = found("offload", table)
    assert (one["super_segments"], one["touched"], one["connections"]) == (5, 2, 3)
    assert (one["first_connection"], one["first_mss"]) == (2, 1380)
    assert [e["frame"] for e in one["evidence"]] == [10, 20]
    assert found("offload", rows("connections", connection())) == []


def test_encrypted_connections_are_counted() -> None:
    many = [connection(connection=i, protocol="tls", first_frame=100 - i, start=i) for i in range(9)]
    [one] = found("encrypted", rows("connections", *many, connection(connection=9)))
    assert (one["encrypted"], one["connections"], one["first_connection"]) == (9, 10, 0)
    assert [e["frame"] for e in one["evidence"]] == [92, 93, 94, 95, 96]
    assert found("encrypted", rows("connections", connection())) == []


def test_what_the_hellos_of_encrypted_connections_say() -> None:
    hello = {"protocol": "tls", "tls_version": "TLS 1.2", "alpn_offered": "h2,http/1.1"}
    table = rows(
        "connections",
        connection(),
        connection(connection=1, server_name="b.example", alpn_chosen="h2", **hello),
        connection(connection=2, server_name="a.example", **hello),
        connection(connection=3, server_name="a.example", encrypted_hello=True, **hello),
        *(connection(connection=4 + i, protocol="tls", server_name=f"{i}.example") for i in range(3)),
        connection(connection=7, protocol="http", server_name="never.example"),
    )
    [note] = found("encrypted", table)
    assert (note["encrypted"], note["connections"]) == (6, 8)
    assert note["names"] == " Requested server names (SNI): a.example (on 2 connections), b.example, 0.example and 2 more."
    assert note["offered"] == " Protocols offered (ALPN): h2,http/1.1 (on 3 connections)."
    assert note["chosen"] == " Protocols selected (ALPN): h2."
    assert note["hidden"].startswith(" Encrypted Client Hello (ECH) is used on 1 of these connections")
    assert note["evidence"][0]["note"].endswith(" (TLS 1.2), name b.example, offers h2,http/1.1, selected h2")


def test_hellos_that_say_nothing() -> None:
    [note] = found("encrypted", rows("connections", connection(protocol="tls")))
    assert (note["names"], note["offered"], note["chosen"], note["hidden"]) == ("", "", "", "")


def test_a_server_name_that_occurs_twice() -> None:
    """Polars 2.1 panics if a select shares parts of such an expression with others."""
    named = pl.LazyFrame({"server_name": ["b.example", "c.example", "", "a.example", "d.example", "a.example"]})
    some = encrypted._most_frequent("server_name")  # pyright: ignore[reportPrivateUsage]
    [row] = named.select(pl.len(), pl.col("server_name").min().alias("least"), some).collect().to_dicts()
    most = [("a.example", 2, 4), ("b.example", 1, 4), ("c.example", 1, 4)]
    assert [(one["value"], one["count"], one["number"]) for one in row["server_name"]] == most


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        (1, "In 1 packet on the only connection, part of an HTTP head or of chunk framing was cut off."),
        (2, "In 2 packets on the only connection, part of an HTTP head or of chunk framing was cut off."),
    ],
)
def test_the_number_of_packets_that_were_cut(cut: int, words: str) -> None:
    request = r"""
  0.000  >  S    mss 1460
  0.010  <  S.   mss 1460
  0.010  >  .
  0.011  >  P.   "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 5\r\n\r\nhello" snap 100
"""
    again = request.splitlines()[4].replace("0.011", "0.033").replace('\\r\\n"', '\\r\\n" snap 70')
    [told] = [f for f in findings(request + (again + "\n") * (cut - 1)) if f.rule == "snap-length"]
    assert told.message.startswith(words)
