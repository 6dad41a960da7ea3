"""The bytes that wait are bounded over all connections."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.talk import analyzed
from tests.http.talk import HANDSHAKE
from tests.ladders import ladder_packets
from wiredoctor import limits
from wiredoctor.core.tcp.flows import BUCKETS

REQUEST = r'0.020 > P. "GET / HTTP/1.1\r\nHost: a\r\n\r\n"' + "\n"
CHUNKED = r'0.030 < P. "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4000\r\n"' + "\n"


def parts_of(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each part of the connections keep this many bytes."""
    monkeypatch.setattr(limits.KEPT, "value", BUCKETS * size)


def test_a_gap_is_given_up_if_too_many_bytes_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    packets = [*ladder_packets(HANDSHAKE + REQUEST + CHUNKED + "".join(f"0.{i + 31:03} < . body*1000\n" for i in range(16)))]
    # the first of them is captured as the last one
    packets.append(replace(packets.pop(-16), time=packets[-1].time))
    core = analyzed(packets)
    assert core.met.counts == {}
    assert [(row["response_has_gap"], row["response_body_bytes"]) for row in core.exchanges().to_dicts()] == [(False, 16_000)]
    # 2,000 for the connection, 200 for each range: six fit
    parts_of(9_500, monkeypatch)
    core = analyzed(packets)
    assert core.met.counts == {limits.KEPT.name: 1}
    assert [(row["response_has_gap"], row["response_body_bytes"]) for row in core.exchanges().to_dicts()] == [(True, 15_000)]


def test_a_head_that_does_not_end_is_read_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    head = "".join(f'0.{i + 21:03} > . "X-{i}: {"a" * 900}\\r\\n"\n' for i in range(8))
    packets = ladder_packets(HANDSHAKE + r'0.020 > . "GET / HTTP/1.1\r\n"' + "\n" + head)
    parts_of(5_000, monkeypatch)
    core = analyzed(packets)
    assert core.met.counts == {limits.KEPT.name: 1}
    (row,) = core.exchanges().to_dicts()
    assert (row["request_target"], row["request_end_reason"], row["request_head_bytes"] < 4_000) == ("/", "hole", True)
