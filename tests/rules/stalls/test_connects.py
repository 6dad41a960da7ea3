"""Test connections that were established late or never: many of them, and cases that ladders do not show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.ladders import ladders_in
from tests.rules.frames import MS, S, connection, found, rows
from wiredoctor.rules.shared import attempt_groups
from wiredoctor.rules.stalls import connect_failed
from wiredoctor.testing import findings


def refused(number: int, client: str = "10.0.0.1", server: str = "10.0.0.2:80") -> dict[str, Any]:
    """A connection that was refused."""
    frame = 2 * number + 1
    return connection(
        connection=number, client=f"{client}:{40_000 + number % 20_000}", client_host=client, server=server, syns=1,
        syn_frame=frame, syn_time=number * S, last_syn_frame=frame, last_syn_time=number * S, client_packets=1,
        server_packets=1, refused_frame=frame + 1, refused_time=number * S + MS,
    )  # fmt: skip


def ports(count: int) -> list[dict[str, Any]]:
    return [refused(n, server=f"10.0.0.2:{n + 1}") for n in range(count)]


def clients(count: int) -> list[dict[str, Any]]:
    return [refused(n, client=f"10.0.{n // 250}.{n % 250}", server="10.9.0.2:80") for n in range(count)]


def failed(*connections: dict[str, Any]) -> list[dict[str, Any]]:
    return found("connect-failed", rows("connections", *connections))


def unreachable(number: int) -> dict[str, Any]:
    """A connection of which a router said that there is no way."""
    of_rst = {"refused_frame": None, "refused_time": None, "server_packets": 0}
    error = {"syn_error_router": "10.0.0.254", "syn_error_type": 3, "syn_error_code": 1}
    return refused(number) | of_rst | error | {"syn_error_frame": 2 * number + 2, "syn_error_time": number * S + MS}


def test_each_failure_by_itself() -> None:
    assert [(f["connection"], f["client"], f["server"]) for f in failed(unreachable(0), unreachable(1))] == [
        (0, "10.0.0.1:40000", "10.0.0.2:80"),
        (1, "10.0.0.1:40001", "10.0.0.2:80"),
    ]


def test_refusals_of_one_client_are_one_finding_of_as_many_events() -> None:
    [told] = failed(refused(0), refused(1))
    assert (told["connection"], told["client"], told["server"]) == (None, "10.0.0.1", "10.0.0.2:80")
    assert (told["events"], told["start"], told["end"]) == (2, 0, S + MS)
    assert [item["frame"] for item in told["evidence"]] == [1, 2]


def test_what_a_gateway_asked_is_told_for_each_request() -> None:
    """Its client's finding names it; and a server that is up again 1 s later changes nothing of that."""
    accepted = connection(connection=2, server="10.0.0.2:80", syns=1, syn_frame=9, syn_time=3 * S, first_answer_frame=10,
                          first_answer_time=3 * S, connected=True)  # fmt: skip
    tries = [
        {"front_connection": 7, "front_exchange": n, "connection": n, "certain": certain}
        for n, certain in ((0, True), (1, False))
    ]
    told = found("connect-failed", rows("connections", refused(0), refused(1), accepted), rows("tries", *tries))
    each = [("refused", 0, 1), ("refused", 1, 1)]
    assert [(f["kind"], f["connection"], f["events"]) for f in told] == each
    # for which request the second attempt was made is unknown, but it belongs to the same outage
    told = found("connect-failed", rows("connections", refused(0), refused(1), accepted), rows("tries", tries[0]))
    assert [(f["kind"], f["connection"], f["events"]) for f in told] == each
    told = found("connect-failed", rows("connections", refused(0), refused(1), accepted))
    assert [(f["kind"], f["connection"], f["events"]) for f in told] == [("not-up-yet", None, 2)]


def test_two_outages_of_a_server() -> None:
    def accepted(number: int) -> dict[str, Any]:
        frame = 2 * number + 1
        return connection(connection=number, client=f"10.0.0.1:{40_000 + number}", client_host="10.0.0.1", server="10.0.0.2:80",
                          syns=1, syn_frame=frame, syn_time=number * S, first_answer_frame=frame + 1,
                          first_answer_time=number * S + MS, connected=True)  # fmt: skip

    connections = [accepted(0), refused(1), accepted(2), refused(3), refused(4), refused(5), accepted(6)]
    [told] = failed(*connections)
    assert (told["kind"], told["severity"], told["events"]) == ("down", None, 4)
    assert told["down_for"].total_seconds() == 3
    assert "it went down 2 times" in told["outages"]


@pytest.mark.parametrize(("count", "findings"), [(20, 20), (21, 1), (1000, 1)])
def test_a_client_that_looks_for_open_ports_is_one_finding(count: int, findings: int) -> None:
    told = failed(*ports(count))
    assert len(told) == findings
    if findings == 1:
        assert (told[0]["connection"], told[0]["client"], told[0]["server"]) == (None, "10.0.0.1", None)
        assert told[0]["where"] == f"{count} ports of 10.0.0.2"
        assert "is looking for open ones" in told[0]["many"]


@pytest.mark.parametrize(("count", "findings"), [(20, 20), (21, 1), (1000, 1)])
def test_a_server_that_refuses_many_clients_is_one_finding(count: int, findings: int) -> None:
    told = failed(*clients(count))
    assert len(told) == findings
    if findings == 1:
        assert (told[0]["connection"], told[0]["client"], told[0]["server"]) == (None, None, "10.9.0.2:80")
        assert told[0]["whose"] == f"{count} clients"


@pytest.mark.parametrize(("count", "findings"), [(100, 100), (101, 1)])
def test_a_client_that_tries_for_ever_is_one_finding(count: int, findings: int) -> None:
    told = failed(*(unreachable(n) for n in range(count)))
    assert len(told) == findings
    if findings == 1:
        assert (told[0]["client"], told[0]["server"]) == ("10.0.0.1", "10.0.0.2:80")
        assert (told[0]["start"], told[0]["end"]) == (0, 100 * S + MS)


def single_syns(servers: int) -> list[dict[str, Any]]:
    """Three connections with a single SYN without an answer at each of so many ports, a second apart."""
    numbers = range(3 * servers)
    return [
        connection(
            connection=n, client=f"10.0.0.1:{40_000 + n}", client_host="10.0.0.1", server=f"10.0.0.2:{n % servers + 1}", syns=1,
            syn_frame=n + 1, syn_time=n * S, last_syn_frame=n + 1, last_syn_time=n * S, end=n * S, client_packets=1,
            server_packets=0, final_at=1000 * S,
        )
        for n in numbers
    ]  # fmt: skip


@pytest.mark.parametrize(("servers", "told"), [(1, 3), (20, 60), (21, 0)])
def test_single_syns_to_many_ports_are_a_scan(servers: int, told: int) -> None:
    assert len(failed(*single_syns(servers))) == told


def test_a_scan_hides_no_other_client() -> None:
    other = refused(5_000, client="10.0.0.9", server="10.0.0.2:443")
    assert sorted(f["client"] for f in failed(*ports(1000), other)) == ["10.0.0.1", "10.0.0.9:45000"]


def test_the_first_of_many_is_shown_in_whatever_order_they_are_found() -> None:
    [told] = failed(*reversed(ports(1000)))
    assert [item["frame"] for item in told["evidence"]] == [1, 2]
    assert (told["start"], told["end"]) == (0, 999 * S + MS)


def test_a_row_of_each_failure_takes_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has numbers, and the texts that the connection has anyhow; the others are made for what is reported alone."""
    grouped: list[pl.DataFrame] = []

    def group(rows: pl.DataFrame) -> pl.DataFrame:
        grouped.append(rows)
        return attempt_groups.group_failures(rows)

    monkeypatch.setattr(connect_failed, "group_failures", group)
    assert len(failed(*ports(1000))) == 1
    [each] = grouped
    assert each.height == 1000
    assert {name for name, dtype in each.schema.items() if not dtype.is_numeric() and dtype != pl.Boolean} == {
        "client", "server", "client_host", "router", "next_server",
    }  # fmt: skip
    assert each["next_server"].null_count() == each.height


def test_the_address_that_answered_instead_is_named() -> None:
    ladders = dict(ladders_in(Path(__file__).with_name("connect_failed.txt")))
    [told] = findings(ladders["speaks: the SYN-ACKs come from another address than that to which the client sends its SYNs"])
    assert "the SYN-ACK came from 10.0.0.2:80 instead" in told.message
    assert "SNAT" in told.remedy
    assert "traceroute" not in told.remedy
    [told] = findings(ladders["speaks: nobody is there, and the capture goes on for 30 s"])
    assert "the server is down or has another address" in told.message
    assert "traceroute" in told.remedy


def test_hosts_in_ipv6() -> None:
    told = failed(*(refused(n, client="fd00::1", server=f"[fd00::2]:{n + 1}") for n in range(30)))
    assert [f["where"] for f in told] == ["30 ports of fd00::2"]


def retried(**changes: Any) -> dict[str, Any]:
    """A SYN that was sent again after 1 s and answered 20 ms later."""
    row = connection(
        syns=2, syn_frame=1, syn_time=0, second_syn_time=S, last_syn_frame=2, last_syn_time=S, first_answer_frame=3,
        first_answer_time=S + 20 * MS, newest_answer_frame=3, newest_answer_time=S + 20 * MS, answered_syn_frame=2,
        answered_syn_time=S, connected=True, data_rtt=20 * MS,
    )  # fmt: skip
    return row | changes


def test_the_first_syn_had_arrived() -> None:
    [retry] = found("connect-retry", rows("connections", retried(answer_echoes_first_syn=True)))
    assert retry["why"] == "the answer to the SYN was lost or late"
    assert "had reached the server" in retry["cause"]
    assert "listen queue is not the cause" in retry["check"]
    [retry] = found("connect-retry", rows("connections", retried(first_answer_frame=2, first_answer_time=20 * MS)))
    assert retry["why"] == "the answer to the SYN was lost or late"
    assert "SYN-ACK (frame 2) was lost" in retry["cause"]
    assert "listen queue is not the cause" in retry["check"]
    [retry] = found("connect-retry", rows("connections", retried()))
    assert retry["why"] == "the SYN had to be retransmitted"
    assert "ListenOverflows" in retry["check"]


@pytest.mark.parametrize(
    ("first", "second", "changes", "late"),
    [
        (6, 20, {}, False),  # the first comes too early to answer the second SYN: the server repeated it by its timer
        (-10, 20, {}, False),
        (20, 50, {}, False),  # of a server that repeats it by its timer although it has answered the second SYN
        (219, 300, {}, False),
        (220, 300, {}, True),
        (220, 300, {"data_rtt": None}, False),
    ],
)
def test_two_syn_acks_shortly_after_each_other(first: int, second: int, changes: dict[str, Any], late: bool) -> None:
    """The round trip takes 20 ms. Times are in ms since the second SYN."""
    answers = {"first_answer_time": S + first * MS, "newest_answer_time": S + first * MS, "late_answer_time": S + second * MS}
    [retry] = found("connect-retry", rows("connections", retried(**answers, late_answer_frame=5, **changes)))
    assert retry["delay"] == S
    assert retry["why"] == ("both SYNs or their answers were late" if late else "the answer to the SYN was lost or late")
    assert ("Either an earlier SYN-ACK was lost" in retry["cause"]) is not late
    assert "nothing was lost" not in retry["cause"]
    assert "listen queue is not the cause" in retry["check"] or late


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "the first SYN or its answer was lost"),
        ({"refused_frame": 9, "refused_time": MS}, "an RST refused the first SYN (frame 9)"),
        ({"first_answer_frame": 2, "first_answer_time": MS}, "SYN-ACK (frame 2) was lost"),
        ({"translated_time": MS}, "the first SYN or its answer was lost"),
        ({"translated_time": S}, "the host that translates dropped the first SYN, or it was lost between"),
        ({"translated_time": S, "answer_echoes_first_syn": True}, "the first SYN had reached the server"),
    ],
)
def test_what_became_of_the_first_syn(changes: dict[str, Any], words: str) -> None:
    [retry] = found("connect-retry", rows("connections", retried(**changes)))
    assert words in retry["cause"]
    assert retry["plainer"] == ""


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ((1,), "left 1 s after the first, when the client's timer expired (1 s on common systems, 3 s on older ones)."),
        (
            (1, 3),
            "left 3 s after the first, when the client's timer expired (it was 1 s for the first SYN and 2 s for the second).",
        ),
        # Linux since 6.5
        ((1, 2, 3, 4), "left 4 s after the first, when the client's timer expired (it was 1 s for the first SYN and 1 s for"),
    ],
)
def test_the_client_s_timer_is_described_by_the_captured_times(times: tuple[int, ...], words: str) -> None:
    """`times`: when the SYN was sent again, in seconds since the first. The last one is answered."""
    last = times[-1] * S
    changes = dict(zip(("second_syn_time", "third_syn_time"), (time * S for time in times), strict=False))
    answered = {"last_syn_time": last, "answered_syn_time": last, "syns": 1 + len(times)}
    answers = {"first_answer_time": last + 20 * MS, "newest_answer_time": last + 20 * MS}
    [retry] = found("connect-retry", rows("connections", retried(**changes, **answered, **answers)))
    assert words in retry["left"]
    assert "doubled" not in retry["left"]


def test_a_syn_that_asked_for_less_was_answered() -> None:
    [retry] = found("connect-retry", rows("connections", retried(syn_ecn_or_data=True)))
    assert "the SYN that was answered did not" in retry["plainer"]
    [retry] = found("connect-retry", rows("connections", retried(syn_ecn_or_data=True, answered_syn_ecn_or_data=True)))
    assert retry["plainer"] == ""


@pytest.mark.parametrize(("round_trip", "speaks"), [(999, True), (1000, False)])
def test_a_path_longer_than_the_timer(round_trip: int, speaks: bool) -> None:
    assert bool(found("connect-retry", rows("connections", retried(data_rtt=round_trip * MS)))) is speaks
