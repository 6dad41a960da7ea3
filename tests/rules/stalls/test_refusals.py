"""Test connect-failed with ICMP errors: each kind in both IP versions, and similar errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.icmp import CONNECT, CONNECT6, ROUTER4, ROUTER6, Error, capture
from tests.support.analysis import analyze_bytes
from tests.support.sweeps import SLOW, sweep
from wiredoctor.findings import Finding

SYN = "  0.000  >  S    mss 1460\n"
SYN6 = "connection 1, client [fd00::1]:40001, server [fd00::2]:80\n" + SYN
AGAIN = "  1.000  >  S    mss 1460\n  3.000  >  S    mss 1460\n"
LATER = "connection 2, start 90.0, client 10.0.0.7:4000, server 10.0.0.8:81\n  0.000  >  S    mss 1460\n"
"""Another client: the capture goes on."""

PROHIBITED4, PROHIBITED6 = {3, 9, 10, 13}, {1, 4, 5, 6}
"""Codes of destination unreachable by which a firewall or a route forbids it."""


Found = Callable[..., list[Finding]]


@pytest.fixture(params=["whole", pytest.param("in steps", marks=SLOW)])
def found(request: pytest.FixtureRequest, tmp_path: Path) -> Found:
    """Return what is found in a ladder with errors, read at once, or in steps of one packet and of three."""

    def analyze(ladder: str, *errors: Error) -> list[Finding]:
        return same_in_steps(tmp_path, [1000] if request.param == "whole" else [1, 3], ladder, *errors)

    return analyze


def same_in_steps(folder: Path, sizes: Sequence[int], ladder: str, *errors: Error) -> list[Finding]:
    """Return what is found, the same in steps of each size."""
    reports = [analyze_bytes(folder / "refused.pcap", capture(ladder, *errors), epoch_packets=size) for size in sizes]
    texts = [[str(finding) for finding in report.findings] for report in reports]
    assert all(text == texts[0] for text in texts)
    return reports[0].findings


ENDED = """
connection 1
0.0000  >  S    mss 1460
0.0002  <  S.   mss 1460
0.0003  >  .
0.0010  >  F.
0.0012  <  F.
0.0013  >  .
connection 2, client 10.0.0.1:40002, server 10.0.0.2:80
4.3000  >  S    mss 1460
4.3010  <  R.
"""


def test_a_refusal_is_seen_when_it_happened_not_when_the_server_still_accepted(found: Found) -> None:
    [finding] = found(ENDED)
    assert (finding.rule, finding.kind) == ("connect-failed", "refused")
    assert finding.evidence[0].note == "the server had accepted connections"
    assert (finding.elapsed, finding.first_seen) == (0.0002, 4.3)
    assert finding.first_seen_time.endswith(":24.300000000Z")  # ladders begin at second 20 of a minute


ACCEPTED = r"""
connection {number}, start {start}, client 10.0.0.1:4000{number}
0.0000  >  S    mss 1460
{trip}  <  S.   mss 1460
{trip}  >  .
0.0800  >  F.
0.1600  <  F.
0.1600  >  .
"""
REJECTED = """
connection 9, start 1.0, client 10.0.0.1:40009
0.0000  >  S    mss 1460
{after}  <  R.   ack 1
"""


@pytest.mark.parametrize(
    ("accepted", "trip", "after", "kind"),
    [
        (2, "0.0600", "0.0060", "prohibited"),
        (2, "0.0600", "0.0061", "refused"),  # may be jitter
        (1, "0.0600", "0.0001", "refused"),  # a single SYN-ACK may have been late
        (2, "0.0049", "0.0001", "refused"),  # a busy server may be that late
        (2, "0.0050", "0.0001", "prohibited"),
    ],
)
def test_an_rst_too_early_for_the_server_is_from_a_firewall(
    accepted: int, trip: str, after: str, kind: str, found: Found
) -> None:  # fmt: skip
    before = [ACCEPTED.format(number=number, start=number / 10, trip=trip) for number in range(accepted)]
    [finding] = found("".join([*before, REJECTED.format(after=after)]))
    assert (finding.rule, finding.kind, finding.side) == ("connect-failed", kind, "server" if kind == "refused" else None)
    assert finding.evidence[-1].frame == 6 * accepted + 2
    if kind == "prohibited":
        assert "A device nearer to the client than 10.0.0.2 answered" in finding.message


@pytest.mark.parametrize("code", sweep(range(16), {1, 3, 13}.__contains__))
def test_destination_unreachable(code: int, found: Found) -> None:
    [finding] = found(SYN + LATER, Error(0.02, 1, 3, code))
    assert (finding.rule, finding.kind) == ("connect-failed", "prohibited" if code in PROHIBITED4 else "unreachable")
    assert (finding.severity, finding.confidence, finding.side, finding.delay) == ("error", "high", None, 0.02)
    assert (finding.client, finding.server) == ("10.0.0.1:40001", "10.0.0.2:80")
    assert [item.frame for item in finding.evidence] == [1, 2]
    assert f"{ROUTER4} answered the SYN of 10.0.0.1 to 10.0.0.2:80 with ICMP " in finding.message
    assert f"(type 3, code {code})" in finding.message


@pytest.mark.parametrize("code", sweep(range(7), {1, 3}.__contains__))
def test_destination_unreachable_in_ipv6(code: int, found: Found) -> None:
    [finding] = found(SYN6 + LATER, Error(0.02, 1, 1, code))
    assert (finding.rule, finding.kind) == ("connect-failed", "prohibited" if code in PROHIBITED6 else "unreachable")
    assert (finding.client, finding.server) == ("[fd00::1]:40001", "[fd00::2]:80")
    assert f"{ROUTER6} answered the SYN of fd00::1 to [fd00::2]:80 with ICMPv6 " in finding.message
    assert f"(type 1, code {code})" in finding.message


@pytest.mark.parametrize(
    ("ladder", "type", "code", "words"),
    [
        (SYN, 11, 0, "time to live exceeded in transit"),
        (SYN, 12, 0, "parameter problem"),
        (SYN6, 2, 0, "packet too big"),
        (SYN6, 3, 0, "hop limit exceeded in transit"),
        (SYN6, 4, 1, "unrecognized Next Header type encountered"),
    ],
)
def test_other_errors(ladder: str, type: int, code: int, words: str, found: Found) -> None:
    [finding] = found(ladder + LATER, Error(0.02, 1, type, code))
    assert (finding.rule, finding.kind) == ("connect-failed", "unreachable")
    assert f'"{words}"' in finding.message


@pytest.mark.parametrize(
    ("ladder", "type", "code", "errno"),
    [
        (SYN, 3, 3, "Connection refused"),
        (SYN, 3, 13, "No route to host"),
        (SYN, 3, 1, "No route to host"),
        (SYN, 3, 0, "Network is unreachable"),
        (SYN6, 1, 1, "Permission denied"),
        (SYN6, 1, 0, "Network is unreachable"),
        (SYN6, 1, 4, "Connection refused"),
    ],
)
def test_what_programs_say(ladder: str, type: int, code: int, errno: str, found: Found) -> None:
    """Linux: net/ipv4/icmp.c, icmp_err_convert; net/ipv6/icmp.c, icmpv6_err_convert."""
    [finding] = found(ladder + LATER, Error(0.02, 1, type, code))
    assert f'Programs report "{errno}"' in finding.message


def test_eight_bytes_are_enough(found: Found) -> None:
    """RFC 792 requires no more of TCP than ports and sequence number."""
    [finding] = found(SYN + LATER, Error(0.02, 1, 3, 13, kept=8))
    assert (finding.kind, [item.frame for item in finding.evidence]) == ("prohibited", [1, 2])


def test_the_server_itself(found: Found) -> None:
    [finding] = found(SYN + LATER, Error(0.02, 1, 3, 3, router="10.0.0.2"))
    assert finding.message.startswith("10.0.0.2 answered the SYN of 10.0.0.1 to 10.0.0.2:80 with ")
    assert "forwards" not in finding.message


@pytest.mark.parametrize("code", [0, 1])
@pytest.mark.parametrize(("router", "forwards"), [("10.0.0.2", True), (ROUTER4, False)])
def test_the_server_forwards_the_port(code: int, router: str, forwards: bool, found: Found) -> None:
    """DNAT to a host that is down: the packets come from the address of the server, which does answer."""
    [finding] = found(SYN + LATER, Error(0.02, 1, 3, code, router=router))
    assert ("forwards connections to that port" in finding.message) == forwards


def test_a_client_that_tries_again(found: Found) -> None:
    """All errors are of one attempt; the first is told."""
    errors = [Error(0.02 + at, n, 3, 1) for n, at in ((1, 0), (2, 1), (3, 3))]
    [finding] = found(SYN + AGAIN + LATER, *errors)
    assert (finding.kind, [item.frame for item in finding.evidence]) == ("unreachable", [1, 2, 5])


def test_the_capture_ends_at_once(found: Found) -> None:
    """A prohibition is not lifted in a second; a route may be there again when the SYN is sent once more."""
    [finding] = found(SYN, Error(0.02, 1, 3, 13))
    assert finding.confidence == "high"
    [finding] = found(SYN, Error(0.02, 1, 3, 1))
    assert finding.confidence == "medium"


def test_an_rst_says_more(found: Found) -> None:
    [finding] = found(SYN + "  1.000  >  S    mss 1460\n  1.020  <  R.   ack 1\n" + LATER, Error(0.02, 1, 3, 1))
    assert finding.kind == "refused"


def test_many_are_one_finding(found: Found) -> None:
    ladder = "".join(f"connection {n}, start {n}.0, server 10.0.0.2:{n}\n" + SYN for n in range(1, 32))
    errors = [Error(n + 0.02, n, 3, 13) for n in range(1, 32)]
    [finding] = found(ladder, *errors)
    assert (finding.kind, finding.client, finding.server) == ("prohibited", "10.0.0.1", None)
    assert "31 ports of 10.0.0.2" in finding.message


STEPS = [SYN + AGAIN, SYN, SYN + "  1.000  >  S    mss 1460\n  1.020  <  R.   ack 1\n"]


@pytest.mark.parametrize("ladder", sweep(STEPS, STEPS[:1].__contains__))
def test_steps_do_not_matter(ladder: str, tmp_path: Path) -> None:
    assert same_in_steps(tmp_path, [1, 3, 1000], ladder + LATER, Error(0.02, 1, 3, 1))


REPEATED = "  1.000  >  S    mss 1460\n  1.010  <  S.   mss 1460\n  1.010  >  .\n"
SILENT = {
    "source quench": (SYN + LATER, Error(0.02, 1, 4, 0)),
    "a redirect": (SYN + LATER, Error(0.02, 1, 5, 1)),
    "a redirect in IPv6": (SYN6 + LATER, Error(0.02, 1, 137, 0)),
    "it quotes another attempt on these ports": (
        "connection 1\n" + SYN + "connection 2, start 1.0, client 10.0.0.1:40001, isn 777000 888000\n" + CONNECT + LATER,
        Error(1.02, 1, 3, 13),
    ),
    "it quotes the SYN, and a SYN-ACK comes": (CONNECT + LATER, Error(0.005, 1, 3, 13)),
    "it quotes the SYN, and a SYN-ACK comes, in IPv6": (CONNECT6 + LATER, Error(0.005, 1, 1, 1)),
    "it quotes the SYN-ACK": (SYN + "  0.020  <  S.   mss 1460\n" + LATER, Error(0.03, 2, 3, 13)),
    "it quotes the ACK": (CONNECT + LATER, Error(0.02, 3, 3, 13)),
}


@pytest.mark.parametrize("name", SILENT)
def test_silence(name: str, found: Found) -> None:
    ladder, error = SILENT[name]
    assert found(ladder, error) == []


def test_the_repeated_syn_was_answered(found: Found) -> None:
    """A route was missing for a second: connect-retry says so."""
    [finding] = found(SYN + REPEATED + LATER, Error(0.02, 1, 3, 1))
    assert finding.rule == "connect-retry"
    assert f'{ROUTER4} answered a SYN with ICMP "host unreachable" (type 3, code 1) (frame 2)' in finding.message
    assert [item.frame for item in finding.evidence] == [1, 2, 3, 4]


V4 = "  0.000  >  S    mss 1460\n  0.020  <  S.\n"
IN_BOTH = SYN6 + "connection 2, start 0.03, client 10.0.0.1:40002, server 10.0.0.9:80\n" + V4
"""An attempt at IPv6, and one at IPv4 that is answered."""
ANOTHER = "connection 3, start 0.031, client {client}, server 10.0.0.10:80\n" + V4


@pytest.mark.parametrize(
    ("code", "other", "kind"),
    [
        (0, "10.0.0.1:40003", "tried-next"),
        (3, "10.0.0.1:40003", "unreachable"),
        (0, "10.0.0.7:40003", "unreachable"),
    ],
    ids=["no route to the network", "the host is not there", "another client"],
)
def test_other_servers_answer_over_ipv4(code: int, other: str, kind: str, found: Found) -> None:
    ladder = IN_BOTH + ANOTHER.format(client=other) + LATER
    [finding] = found(ladder, Error(0.02, 1, 1, code))
    assert (finding.rule, finding.kind) == ("connect-failed", kind)
    assert finding.severity == ("note" if kind == "tried-next" else "error")


HOPS4, HOPS6 = ("10.0.0.254", "172.16.1.1"), ("fd00::fe", "fd01::1")
ANSWERED = "connection 9, start {start}, client 10.0.0.1:40009, server 10.0.0.2:{port}\n" + V4


def syns(servers: Sequence[str], client: str = "10.0.0.1") -> str:
    """Return a SYN to each of these servers, 0.1 s apart."""
    return "".join(
        f"connection {n}, start {n / 10}, client {client}:{41000 + n}, server {server}\n  0.000  >  S    mss 1460\n"
        for n, server in enumerate(servers, start=1)
    )


@pytest.mark.parametrize("start", ["0.31", "60.0"])
def test_traceroute_with_syns(start: str, found: Found) -> None:
    """Its SYNs expire at a router on purpose; a later one gets to the server."""
    ladder = syns(["10.0.0.2:443"] * 2) + ANSWERED.format(start=start, port=443) + LATER
    assert found(ladder, *(Error(n / 10 + 0.02, n, 11, 0, kept=8) for n in (1, 2))) == []


@pytest.mark.parametrize(
    ("server", "client", "hops", "type"),
    [("10.0.0.2:443", "10.0.0.1", HOPS4, 11), ("[fd00::2]:443", "[fd00::1]", HOPS6, 3)],
    ids=["IPv4", "IPv6"],
)
def test_traceroute_to_a_server_that_does_not_answer(
    server: str, client: str, hops: tuple[str, str], type: int, found: Found
) -> None:
    errors = [Error(n / 10 + 0.02, n, type, 0, router=hop) for n, hop in enumerate(hops, start=1)]
    assert found(syns([server] * 2, client) + LATER, *errors) == []


@pytest.mark.parametrize(("start", "port"), [("61.0", 443), ("0.31", 80)], ids=["a minute later", "another port"])
def test_the_ttl_expires_in_a_loop(start: str, port: int, found: Found) -> None:
    ladder = syns(["10.0.0.2:443"] * 2) + ANSWERED.format(start=start, port=port) + LATER
    findings = found(ladder, *(Error(n / 10 + 0.02, n, 11, 0) for n in (1, 2)))
    assert [finding.kind for finding in findings] == ["unreachable"] * 2
    assert all("routing loop" in finding.message for finding in findings)


@pytest.mark.parametrize("code", [0, 1])
def test_two_routers_have_no_route(code: int, found: Found) -> None:
    """Only an expired TTL says nothing about a connection."""
    errors = [Error(n / 10 + 0.02, n, 3, code, router=hop) for n, hop in enumerate(HOPS4, start=1)]
    assert [finding.kind for finding in found(syns(["10.0.0.2:443"] * 2) + LATER, *errors)] == ["unreachable"] * 2


def test_the_rst_decides_not_an_icmp_error_before_it(found: Found) -> None:
    """A router had no route yet for the first SYN."""
    [finding] = found(SYN + "  1.000  >  S    mss 1460\n  1.020  <  R.   ack 1\n" + LATER, Error(0.02, 1, 3, 1))
    assert (finding.rule, finding.kind) == ("connect-failed", "refused")
    assert [(item.frame, item.note) for item in finding.evidence][-1] == (4, "an RST that acknowledges the SYN")
    assert ROUTER4 not in str(finding)
