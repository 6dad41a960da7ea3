"""Test until when a client waited for a response that broke off or never came."""

from __future__ import annotations

from typing import Any

import polars as pl

from tests.report.examples import exchange, without_response
from tests.rules.frames import MS, S
from wiredoctor.report.exchange_times import wait_end

END = 60 * S
"""The end of the capture."""

CLOSES = dict.fromkeys(("client_close_time", "server_close_time", "client_rst_time", "server_rst_time"))


def waited_until(**changes: Any) -> int | None:
    """The request takes from 0 to 1 ms; the response broke off at 300 ms."""
    broken = {"response_start": 31 * MS, "response_end": 300 * MS, "response_end_reason": "rst"}
    row = exchange(0, capture="trace.pcap", last_on_connection=True) | CLOSES | broken | changes
    known = pl.DataFrame([row], schema_overrides=dict.fromkeys(CLOSES, pl.Int64()), infer_schema_length=None)
    until: int | None = known.select(wait_end({"trace.pcap": END})).item()
    return until


def test_a_close_before_the_last_byte_ends_no_wait() -> None:
    """The client sends a FIN, the response goes on for 200 ms, and the server resets the connection after that."""
    assert waited_until(client_close_time=100 * MS, server_rst_time=400 * MS) == 400 * MS
    assert waited_until(client_close_time=300 * MS, server_rst_time=400 * MS) == 300 * MS
    assert waited_until(client_close_time=100 * MS) == END


def test_a_client_that_gets_no_response_waits_until_a_close() -> None:
    assert waited_until(**without_response(), client_close_time=100 * MS, server_rst_time=400 * MS) == 100 * MS
    assert waited_until(**without_response()) == END


def test_a_client_that_closes_its_side_with_the_request_waits_on() -> None:
    """Its FIN comes less than 10 ms after the request."""
    assert waited_until(**without_response(), client_close_time=10 * MS, server_close_time=400 * MS) == 400 * MS
    assert waited_until(**without_response(), client_close_time=11 * MS, server_close_time=400 * MS) == 11 * MS


def test_a_complete_response_is_not_waited_for() -> None:
    assert waited_until(response_end_reason="complete", server_close_time=400 * MS) is None
