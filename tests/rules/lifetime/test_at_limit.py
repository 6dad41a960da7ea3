"""Test requests that arrive at a server's idle timeout and that its kernel still acknowledges, and similar traffic, at round
trips from 0 to 150 ms, captured at the client, in the middle and at the server.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.ladders import check
from tests.rules.frames import S, server_of
from tests.support.sweeps import SLOW, WHOLE, in_turn, sweep
from wiredoctor.findings import Finding
from wiredoctor.rules.lifetime.keep_alive_race import Facts
from wiredoctor.rules.shared.race_explanations import Explanation, explain
from wiredoctor.testing import EPOCHS, POINTS, findings
from wiredoctor.world.learned_limits import ServerClose, Use

GET = '"GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"'
HEAD, BODY = '"POST /a HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 9\\r\\n\\r\\n"', "b*9"
THINK = 0.001
"""Seconds from a request to its response, at the server."""

ROUND_TRIPS = (0.0, 0.001, 0.03, 0.15)


class Server:
    """A server and its connections, drawn as captured at the client. Times are those of the server, in seconds."""

    def __init__(self, round_trip: float, fields: str = "") -> None:
        self.round_trip = round_trip
        self.lines: list[str] = []
        self.connections = 0
        self.response = f'"HTTP/1.1 200 OK\\r\\n{fields}Content-Length: 2\\r\\n\\r\\nok"'

    def connection(self, answered_at: float, *, answers: int = 1) -> None:
        """Open a connection, and leave it alone when the last response has been sent at that time."""
        self.connections += 1
        self.answered_at = answered_at
        rtt = self.round_trip
        self.lines += [f"connection {self.connections}"]
        if not answers:
            self.add(answered_at - rtt, ">  S  win 64240 mss 1460")
            self.add(answered_at, "<  S. win 64240 mss 1460")
            self.add(answered_at, ">  .")
            return
        start = answered_at - 2 * rtt - THINK
        self.add(start, ">  S  win 64240 mss 1460")
        self.add(start + rtt, "<  S. win 64240 mss 1460")
        self.add(start + rtt, ">  .")
        self.add(start + rtt, f">  P. {GET}")
        self.add(answered_at, f"<  P. {self.response}")
        self.add(answered_at, ">  .")

    def idle(self, answered_at: float, rest: float) -> None:
        """A connection that is closed after a rest."""
        self.connection(answered_at)
        self.close(rest, "F.")
        self.add(answered_at + rest, ">  F.")

    def ask(self, rest: float, request: str = GET, *, acknowledges: int | None = None) -> None:
        """Send a request that reaches the server after a rest."""
        ack = "" if acknowledges is None else f" ack {acknowledges}"
        self.add(self.answered_at + rest - self.round_trip, f">  P. {request}{ack}")

    def close(self, rest: float, flags: str, acknowledges: str = "") -> None:
        self.add(self.answered_at + rest, f"<  {flags}  {acknowledges}")

    def met(self, rest: float, wait: float, flags: str, answered_at: float) -> None:
        """A connection whose second request is acknowledged by a close."""
        self.connection(answered_at)
        self.ask(rest)
        self.close(rest + wait, flags)

    def used_again(self, answered_at: float, rest: float) -> None:
        """A connection whose second request is answered; then the client closes it."""
        self.connection(answered_at)
        self.ask(rest)
        done = answered_at + rest + THINK
        self.add(done, f"<  P. {self.response}")
        self.add(done, ">  F.")
        self.add(done + self.round_trip, "<  F.")

    def add(self, time: float, packet: str) -> None:
        """`time`: when it leaves the server, or the client sends it."""
        self.lines.append(f"  {time:.6f}  {packet}")

    def text(self, *expected: str) -> str:
        self.connection(answered_at=900.0, answers=0)  # until then the capture goes on
        return "\n".join(["speaks: it", *self.lines, *(f"  => {one}" for one in expected)])


AT_LIMIT = "keep-alive-race, side client, kind at-limit, severity error"
IDLE = "idle-close, side server"
STOP = "idle-close, side server, kind stop, severity note"


def sharp(round_trip: float, **settings: str) -> Server:
    """A server whose limit is 5 s: 4.99 to 5.02 s."""
    server = Server(round_trip, **settings)
    for at, rest in ((10, 5.0), (40, 4.99), (70, 5.02)):
        server.idle(at, rest)
    return server


def coarse(round_trip: float) -> Server:
    server = Server(round_trip)
    for at, rest in ((10, 5.0), (40, 6.1), (70, 8.3)):
        server.idle(at, rest)
    return server


def at_rest(answered_at: float, rest: float) -> ServerClose:
    """A close of a connection that had been idle for a rest, as in `Server.idle`. Its time serves as the id."""
    time = round((answered_at + rest) * S)
    return ServerClose(time, round(rest * S), time, time + S, teaches=True, reset=False)


def answered_after(rest: float, answered_at: float) -> Use:
    """A request that was answered after a rest, as in `Server.used_again`."""
    time = round((answered_at + rest) * S)
    return Use(round(rest * S), time, time + S)


def explained(rest: float, wait: float, flags: str, *others: ServerClose, **known: Any) -> Explanation | None:
    """Return how idle times explain the close of a connection that met a request, as in `Server.met` 100 s after the start.

    `others`: the server's other closes; `known`: what else is known of it.
    """
    time, rested, later = round((100 + rest + wait) * S), round((rest + wait) * S), round(wait * S)
    own = ServerClose(time, rested, 100, time + S, teaches=False, reset=flags == "R.", sort="met", waited=later)
    shown = {"kind": "at-limit", "connection": 100, "server_close_time": time, "by_rst": own.reset}
    facts = {**dict.fromkeys(Facts._fields), **shown, "rested": rested, "idle_at_server": round(rest * S), "later": later}
    return explain(Facts(**facts), server_of(*others, own, **known))


THREE = at_rest(10, 5.0), at_rest(40, 4.99), at_rest(70, 5.02)
"""The closes of `sharp`."""


def points(round_trip: float) -> tuple[str, ...]:
    """The capture points at which packets have different times: one where they need none for their way."""
    return POINTS if round_trip else POINTS[:1]


CASES = [
    pytest.param(5.0, 0.0005, "R.", "high", id="an RST half a millisecond after the request"),
    pytest.param(4.93, 0.06, "R.", "high", id="a request before the limit, which passes within 0.1 s"),
    pytest.param(5.05, 1.4, "R.", "high", id="the server stood still when the limit had passed", marks=SLOW),
    pytest.param(4.80, 0.2, "R.", "high", id="a busy server closes on time, and has not read what came before"),
    pytest.param(5.3, 0.01, "R.", "high", id="it looks late", marks=SLOW),
    pytest.param(5.0, 0.0005, "F.", "high", id="a FIN that acknowledges what was never read"),
    pytest.param(5.02, 0.4, "F.", "high", id="a FIN 0.4 s after a request that came when the limit had passed", marks=SLOW),
]


@SLOW
@pytest.mark.parametrize("round_trip", sweep(ROUND_TRIPS, ROUND_TRIPS[:1].__contains__))
@pytest.mark.parametrize(("rest", "wait", "flags", "confidence"), CASES)
def test_a_limit_that_three_closes_show(rest: float, wait: float, flags: str, confidence: str, round_trip: float) -> None:
    server = sharp(round_trip)
    server.met(rest, wait, flags, 100)
    text = server.text(f"{AT_LIMIT}, confidence {confidence}")
    for at in points(round_trip):
        check(text, at)


@pytest.mark.parametrize("epoch_packets", sweep(EPOCHS, EPOCHS[:1].__contains__))
def test_where_epochs_end_does_not_matter(epoch_packets: int) -> None:
    server = sharp(0.03)
    server.met(5.0, 0.0005, "R.", 5)
    check(server.text(f"{AT_LIMIT}, confidence high"), epoch_packets=epoch_packets)


OTHERWISE = [
    pytest.param(2.0, 0.0005, "R.", "unread", id="long before the limit"),
    pytest.param(4.8, 0.0005, "R.", "unread", id="a little before the limit", marks=SLOW),
    pytest.param(4.45, 0.55, "R.", "unread", id="a request long before the limit, and a close on time"),
    pytest.param(4.80, 0.35, "R.", "unread", id="a request before the limit, and a close that was late"),
    pytest.param(4.80, 0.2, "F.", "later", id="a request before the limit, and a FIN on time", marks=SLOW),
    pytest.param(5.5, 0.0005, "R.", "unread", id="long after the limit: it has served that connection", marks=SLOW),
    pytest.param(5.05, 1.6, "R.", "unread", id="a close too late to be that of the limit"),
    pytest.param(4.85, 0.1, "F.", "later", id="a FIN 0.1 s after a request before the limit", marks=SLOW),
    pytest.param(5.02, 0.6, "F.", "later", id="a FIN 0.6 s after the request: a process had it"),
    pytest.param(2.0, 0.0005, "F.", "at-once", id="a FIN at once, long before the limit", marks=SLOW),
]


@SLOW
@pytest.mark.parametrize("round_trip", sweep(ROUND_TRIPS, ROUND_TRIPS[:1].__contains__))
@pytest.mark.parametrize(("rest", "wait", "flags", "kind"), OTHERWISE)
def test_closes_that_no_limit_explains(rest: float, wait: float, flags: str, kind: str, round_trip: float) -> None:
    server = sharp(round_trip)
    server.met(rest, wait, flags, 100)
    text = server.text(f"no-response, side server, severity error, kind {kind}", IDLE)
    for at in points(round_trip):
        check(text, at)


def test_a_post_in_two_segments_meets_a_limit_like_any_other() -> None:
    """Its head is acknowledged, its body is not there yet when the server closes."""
    server = sharp(0.03)
    server.connection(100)
    server.ask(5.0, HEAD)
    server.close(5.0005, "R.")
    server.ask(5.0001, BODY)
    check(server.text(f"{AT_LIMIT}, confidence high"), "client")


@pytest.mark.parametrize("flags", ["R.", "F."])
def test_the_first_request_of_a_connection_meets_no_limit(flags: str) -> None:
    server = sharp(0.03)
    server.connection(100, answers=0)
    server.ask(5.0)
    server.close(5.0005, flags)
    check(server.text("no-response, side server", IDLE), "client")


EXPLAINED = [*(case.values for case in CASES), *((*case.values[:3], None) for case in OTHERWISE)]


@WHOLE
@pytest.mark.parametrize(("rest", "wait", "flags", "confidence"), EXPLAINED)
def test_what_a_limit_explains(rest: float, wait: float, flags: str, confidence: str | None) -> None:
    found = explained(rest, wait, flags, *THREE)
    assert (found and found.confidence) == confidence


YOUNGER = [(younger, younger == 4.6, flags) for younger in (1.2, 4.4, 4.6) for flags in ("R.", "F.")]


@SLOW
@pytest.mark.parametrize(("younger", "speaks", "flags", "at"), in_turn(YOUNGER, POINTS))
def test_a_process_that_ends_takes_younger_connections_with_it(younger: float, speaks: bool, flags: str, at: str) -> None:
    """Younger than 0.9 of the limit, less 20 ms and 1 %: 4.42 s."""
    server = sharp(0.001)
    server.met(5.0, 0.0005, flags, 100)
    server.idle(105.0305 - younger, younger)
    if speaks:
        text = server.text(AT_LIMIT)
    else:
        text = server.text(f"no-response, side server, kind {'unread' if flags == 'R.' else 'at-once'}", IDLE)
    check(text, at)


@WHOLE
@pytest.mark.parametrize(("younger", "speaks", "flags"), YOUNGER)
def test_a_younger_connection_shows_another_reason(younger: float, speaks: bool, flags: str) -> None:
    other = at_rest(105.0305 - younger, younger)
    assert (explained(5.0, 0.0005, flags, *THREE, other) is not None) is speaks


SPARE = [
    pytest.param(5.0, 5.0, True, id="unused since its handshake, as long as the others"),
    pytest.param(1.0, 1.0, False, id="opened later: a process ended"),
    pytest.param(5.0, 0.1, False, id="its first request had been in progress for 4.9 s: a process ended"),
]


@pytest.mark.parametrize("at", POINTS)
@pytest.mark.parametrize(("age", "unused", "speaks"), SPARE)
def test_a_connection_without_a_response_is_as_old_as_it_was_unused(age: float, unused: float, speaks: bool, at: str) -> None:
    """A proxy opened a connection for a request that another one then took, and the limit ended on both."""
    server = sharp(0.001)
    server.met(5.0, 0.003, "F.", 100)
    server.connection(105.003 - age, answers=0)
    server.ask(unused)
    server.close(age, "F.")
    found = [one for one in findings(server.text(), at) if one.severity == "error"]
    expected = {"keep-alive-race" if speaks else "no-response", "no-response"}
    assert (len(found), {one.rule for one in found}) == (2, expected)
    assert any("a server process ended" in one.message for one in found) is not speaks


@pytest.mark.parametrize("at", POINTS)
@pytest.mark.parametrize(("outlived", "stops"), [(None, True), (2.937, False)])
def test_a_close_at_a_check_for_idle_connections_is_no_stop(outlived: float | None, stops: bool, at: str) -> None:
    """The server is restarted much later, so the next SYN is refused. Only a request that outlived two closes that are alike
    shows that the server checks its connections now and then, and that the last close was due.
    """
    server = Server(0.001)
    for answered_at, rest in ((10, 2.602), (40, 2.727), (70, 2.375), (100, 2.4)):
        server.idle(answered_at, rest)
    if outlived is not None:
        server.used_again(60, outlived)
    server.connections += 1
    server.lines += [f"connection {server.connections}"]
    server.add(150, ">  S  win 64240 mss 1460")
    server.add(150.001, "<  R.")
    assert any(one.kind == "stop" for one in findings(server.text(), at)) is stops


def test_a_process_that_ended_is_said() -> None:
    server = sharp(0.001)
    server.met(5.0, 0.0005, "R.", 100)
    server.idle(103.0, 2.01)
    server.idle(104.0, 1.03)
    assert "the server closed 2 other connections: a server process ended" in told(server, "no-response").message


def test_a_process_that_answers_on_an_older_connection_did_not_end() -> None:
    server = sharp(0.001)
    server.met(5.0, 0.0005, "R.", 100)
    server.idle(103.0, 2.01)
    server.idle(104.0, 1.03)
    server.used_again(101.0, 4.5)
    assert "a server process ended" not in told(server, "no-response").message


def test_connections_that_come_one_after_the_other_do_not_show_that_a_process_ended() -> None:
    """A server that closes on every HEAD closes on the repetition, too, on a connection that was opened after its first close."""
    opened = "  0.000  >  S    win 64240 mss 1460\n  0.001  <  S.   win 64240 mss 1460\n  0.001  >  .\n"
    asked = '  0.001  >  P.   "HEAD /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"\n  0.002  <  F.\n  0.002  >  F.\n'
    heads = [f"  connection {n}, start {n / 200}, client 10.0.0.1:4100{n}, server 10.0.0.2:80\n" for n in (1, 2, 3)]
    for finding in findings("".join(head + opened + asked for head in heads)):
        assert "a process of it ended" not in finding.message


def told(server: Server, rule: str) -> Finding:
    [finding] = [one for one in findings(server.text()) if one.rule == rule]
    return finding


COARSE = [(7.0, 2, True), (7.0, 1, False), (4.8, 2, False), (9.0, 2, False)]


@SLOW
@pytest.mark.parametrize(("rest", "company", "speaks", "at"), in_turn(COARSE, POINTS))
def test_a_coarse_limit_and_a_fin(rest: float, company: int, speaks: bool, at: str) -> None:
    """A server that looks after its connections now and then closes several at once."""
    server = coarse(0.001)
    server.met(rest, 0.0005, "F.", 100)
    for number in range(company):
        server.idle(100 + rest - 5.5 - number, 5.5 + number)
    text = server.text(f"{AT_LIMIT}, confidence high") if speaks else server.text("no-response, kind at-once", IDLE)
    check(text, at)


@WHOLE
@pytest.mark.parametrize(("rest", "company", "speaks"), COARSE)
def test_what_a_coarse_limit_explains(rest: float, company: int, speaks: bool) -> None:
    closes = at_rest(10, 5.0), at_rest(40, 6.1), at_rest(70, 8.3)
    others = [at_rest(100 + rest - 5.5 - number, 5.5 + number) for number in range(company)]
    found = explained(rest, 0.0005, "F.", *closes, *others)
    assert (found and found.confidence) == ("high" if speaks else None)


def test_a_coarse_limit_and_an_rst_need_no_company() -> None:
    server = coarse(0.03)
    server.met(7.0, 0.0005, "R.", 100)
    check(server.text(f"{AT_LIMIT}, confidence high"))


CHECKED = [
    pytest.param(((200, 2.937),), 2.374, ("keep-alive-race", "at-limit"), id="a request that outlived two closes that are alike"),
    pytest.param((), 2.374, ("no-response", "at-once"), id="none did, and the two show an exact limit"),
    pytest.param(((40.1, 2.937),), 2.374, ("no-response", "at-once"), id="it lived on when another was closed: a worker ended"),
    pytest.param(((200, 2.937),), 1.2, ("no-response", "at-once"), id="a process that ended closed a younger connection, too"),
]


@WHOLE
@pytest.mark.parametrize(("outlived", "company", "expected"), CHECKED)
def test_what_shows_that_a_server_checks_its_connections(
    outlived: tuple[tuple[float, float], ...], company: float, expected: tuple[str, str]
) -> None:
    closes = at_rest(10, 2.602), at_rest(40, 2.727), at_rest(100.0015, 2.374), at_rest(102.3756 - company, company)
    uses = [answered_after(rest, answered_at) for answered_at, rest in outlived]
    found = explained(2.375, 0.0005, "F.", *closes, uses=uses)
    assert (found is not None) is (expected == ("keep-alive-race", "at-limit"))


@SLOW
@pytest.mark.parametrize("at", POINTS)
@pytest.mark.parametrize(("outlived", "company", "expected"), CHECKED)
def test_a_server_that_checks_its_connections_once_a_second(
    outlived: tuple[tuple[float, float], ...], company: float, expected: tuple[str, str], at: str
) -> None:
    """Its timeout is 2 s. It closes after 2.602, 2.727 and 2.375 s, the third time three connections at once."""
    server = Server(0.001)
    for answered_at, rest in ((10, 2.602), (40, 2.727)):
        server.idle(answered_at, rest)
    server.met(2.375, 0.0005, "F.", 100)
    for rest in (2.374, company):
        server.idle(102.3755 - rest, rest)
    for answered_at, rest in outlived:
        server.used_again(answered_at, rest)
    found = [one for one in findings(server.text(), at) if one.severity == "error"]
    assert [(one.rule, one.kind) for one in found] == [expected]


SINGLE = [("R.", 5.0, 0.0005, True), ("R.", 5.1, 0.05, True), ("R.", 5.1, 0.1, False), ("R.", 4.9, 0.1, False),
          ("F.", 5.0, 0.005, True), ("F.", 5.0, 0.015, False), ("F.", 5.085, 0.006, False)]  # fmt: skip
"""Rest of the request and wait, at a limit of 5 s of which one close tells, or an announcement: at most 20 ms, 1 % and 0.1 s (by
an RST) or 20 ms (by a FIN) later."""


@SLOW
@pytest.mark.parametrize(("flags", "rest", "wait", "speaks", "at"), in_turn(SINGLE, POINTS))
@pytest.mark.parametrize("announced", sweep([False, True], lambda announced: not announced))
def test_a_limit_of_which_only_one_close_tells_or_the_server(
    flags: str, rest: float, wait: float, speaks: bool, at: str, announced: bool
) -> None:
    server = Server(0.03, "Keep-Alive: timeout=5\\r\\n" if announced else "")
    if not announced:
        server.idle(10, 5.0)
    server.met(rest, wait, flags, 100)
    lost = ["no-response, side server", *([] if announced else [IDLE])]
    text = server.text(f"{AT_LIMIT}, confidence medium") if speaks else server.text(*lost)
    check(text, at)


@WHOLE
@pytest.mark.parametrize(("flags", "rest", "wait", "speaks"), SINGLE)
@pytest.mark.parametrize("announced", [False, True])
def test_what_one_close_explains_or_an_announcement(
    flags: str, rest: float, wait: float, speaks: bool, announced: bool
) -> None:  # fmt: skip
    found = explained(rest, wait, flags, said=5) if announced else explained(rest, wait, flags, at_rest(10, 5.0))
    assert (found and found.confidence) == ("medium" if speaks else None)


def test_node_closes_a_second_after_what_it_announces() -> None:
    server = Server(0.03, "Keep-Alive: timeout=5\\r\\n")
    server.met(6.0, 0.0005, "R.", 100)
    check(server.text(f"{AT_LIMIT}, confidence medium"))
    finding = told(server, "keep-alive-race")
    assert "Its idle timeout is 6 s, announced: Keep-Alive: timeout=5; the server closes a second after that" in finding.message


def test_what_is_only_usual() -> None:
    server = Server(0.03, "Server: uvicorn\\r\\n")
    server.met(5.0, 0.0005, "R.", 100)
    check(server.text(f"{AT_LIMIT}, confidence low"))
    assert "a common default" in told(server, "keep-alive-race").message
    other = Server(0.03, "Server: nginx\\r\\n")
    other.met(5.0, 0.0005, "R.", 100)
    check(other.text("no-response, kind unread"))


def test_what_was_observed_goes_before_what_was_announced() -> None:
    server = sharp(0.03, fields="Keep-Alive: timeout=30\\r\\n")
    server.met(5.0, 0.0005, "R.", 100)
    broken = ["idle-timeout-broken-promise, side server"] * 3
    check(server.text(f"{AT_LIMIT}, confidence high", *broken))


@pytest.mark.parametrize(("closes", "speaks"), [(3, True), (2, False)])
def test_requests_that_meet_it_each_time_show_it(closes: int, speaks: bool) -> None:
    """A client that asks every 2.5 s, and a server that announces nothing and is no product that is known."""
    server = Server(0.03, "Server: our own\\r\\n")
    for number in range(closes):
        server.met(2.5, 0.01 * number + 0.001, "R.", 10 + 30 * number)
    one = f"{AT_LIMIT}, confidence medium" if speaks else "no-response, side server, kind unread, confidence medium"
    check(server.text(*[one] * closes))


@pytest.mark.parametrize(("wait", "race"), [(0.09, True), (0.11, False), (0.364, False)])
def test_a_request_that_lay_unread_met_no_timeout(wait: float, race: bool) -> None:
    """Each connection is reset 2.5 s after its response; the last request came longer before that than the others."""
    server = Server(0.03, "Server: our own\\r\\n")
    for number in range(3):
        server.met(2.499, 0.001, "R.", 10 + 30 * number)
    server.met(2.5 - wait, wait, "R.", 100)
    one, other = f"{AT_LIMIT}, confidence medium", "no-response, side server, kind unread, confidence medium"
    check(server.text(*[one] * 3, one if race else other))


@pytest.mark.parametrize(("wait", "speaks"), [(0.09, True), (0.11, False)])
def test_requests_that_lay_unread_show_no_timeout(wait: float, speaks: bool) -> None:
    server = Server(0.03, "Server: our own\\r\\n")
    for number in range(3):
        server.met(2.5 - wait, wait, "R.", 10 + 30 * number)
    one = f"{AT_LIMIT}, confidence medium" if speaks else "no-response, side server, kind unread, confidence medium"
    check(server.text(*[one] * 3))


@pytest.mark.parametrize(("answered", "speaks"), [(2, True), (3, False)])
def test_requests_that_are_reset_on_purpose_show_no_timeout(answered: int, speaks: bool) -> None:
    """A client that asks every 2.5 s. The server resets three requests; as many others are answered after the same idle time."""
    server = Server(0.03, "Server: our own\\r\\n")
    for number in range(3):
        server.met(2.5, 0.01 * number + 0.001, "R.", 10 + 30 * number)
    for number in range(answered):
        server.used_again(200 + 30 * number, 2.51)
    one = f"{AT_LIMIT}, confidence medium" if speaks else "no-response, side server, kind unread, confidence medium"
    check(server.text(*[one] * 3))


BUSY = [
    (0.001, 0.04, "R.", "at-limit"),
    (0.015, 0.45, "R.", "at-limit"),
    (0.001, 0.6, "R.", "unread"),
    (0.1, 0.04, "R.", "unread"),
    (0.001, 0.04, "F.", "later"),
]


@WHOLE
@pytest.mark.parametrize(("rest", "wait", "flags", "kind"), BUSY)
def test_how_late_a_busy_server_may_close_after_its_answers(rest: float, wait: float, flags: str, kind: str) -> None:
    found = explained(rest, wait, flags, at_rest(10, 0.002), at_rest(40, 0.002))
    assert (found is not None) is (kind == "at-limit")


@SLOW
@pytest.mark.parametrize(("rest", "wait", "flags", "kind"), BUSY)
def test_a_busy_server_that_closes_after_its_answers(rest: float, wait: float, flags: str, kind: str) -> None:
    """It closes later than usual, and an RST shows that it has not read the request."""
    server = Server(0.03)
    for at in (10, 40):
        server.idle(at, 0.002)
    server.met(rest, wait, flags, 100)
    assert [one.kind for one in findings(server.text()) if one.severity == "error"] == [kind]


@pytest.mark.parametrize("round_trip", sweep(ROUND_TRIPS, ROUND_TRIPS[2:3].__contains__))
@pytest.mark.parametrize(
    ("closes", "again", "rest", "wait", "flags", "kind"),
    [
        (10, False, 0.1, 0.04, "R.", "at-limit"),
        (10, False, 0.3, 0.45, "R.", "at-limit"),
        pytest.param(9, False, 0.1, 0.04, "R.", "unread", id="too few closes"),
        pytest.param(10, True, 0.1, 0.04, "R.", "unread", id="it has answered a second request"),
        pytest.param(10, False, 0.1, 0.6, "R.", "unread", id="the request was unread for longer", marks=SLOW),
        pytest.param(10, False, 0.4, 0.04, "R.", "unread", id="it rested for longer", marks=SLOW),
        pytest.param(10, False, 0.1, 0.04, "F.", "later", id="a process has read the request", marks=SLOW),
    ],
)
def test_a_server_that_closes_after_all_its_answers(
    closes: int, again: bool, rest: float, wait: float, flags: str, kind: str, round_trip: float
) -> None:
    """It was going to close, however late it is on a busy machine: it never answers a second request on a connection."""
    server = Server(round_trip)
    for number in range(closes):
        server.idle(10 + 30 * number, 0.002)
    if again:
        server.used_again(500, 0.5)
    server.met(rest, wait, flags, 600)
    for at in points(round_trip):
        [error] = [one for one in findings(server.text(), at) if one.severity == "error"]
        assert error.kind == kind
        said = "never answered a second request" in error.message
        assert said is (kind == "at-limit")


def test_a_server_that_closes_after_its_answers() -> None:
    """It does not announce that: two closes met nobody."""
    server = Server(0.03)
    for at in (10, 40):
        server.idle(at, 0.002)
    server.met(0.001, 0.004, "R.", 100)
    check(server.text(f"{AT_LIMIT}, confidence high", *["premature-close, side server"] * 2))
    finding = told(server, "keep-alive-race")
    assert finding.remedy.startswith("Have the server send Connection: close")


@pytest.mark.parametrize("round_trip", sweep(ROUND_TRIPS, ROUND_TRIPS[:1].__contains__))
def test_a_dying_worker_whose_fin_crosses_the_request_is_no_idle_limit(round_trip: float) -> None:
    """The FIN acknowledges nothing of the request: a race. Others end with it, younger than the limit."""
    server = sharp(round_trip)
    server.connection(100)
    server.close(5.0, "F.", "41:41(0) ack 29")
    server.ask(5.0 + round_trip / 2 + 0.0001, acknowledges=41)
    server.idle(103.5, 1.51)
    server.idle(103.8, 1.22)
    expected = "keep-alive-race, side client, kind race, severity error, confidence high"
    for at in points(round_trip):
        check(server.text(expected, STOP), at)
    message = told(server, "keep-alive-race").message
    assert "2 other connections" in message
    assert "a process of the server ended" in message
    assert "idle timeout" not in message


@WHOLE
@pytest.mark.parametrize(("answered", "speaks"), [(1, True), (2, False)])
@pytest.mark.parametrize("closes", [1, 3])
def test_what_requests_refute(answered: int, speaks: bool, closes: int) -> None:
    """As in the next test."""
    survivors = answered if closes == 1 else 6 + answered - 1
    uses = [answered_after(2.7, 200 + 30 * number) for number in range(survivors)]
    found = explained(2.5, 0.001, "R.", *(at_rest(10 + 30 * number, 2.5) for number in range(closes)), uses=uses)
    assert (found is not None) is speaks


@SLOW
@pytest.mark.parametrize(("answered", "speaks"), [(1, True), (2, False)])
@pytest.mark.parametrize("closes", [1, 3])
def test_what_was_survived_is_no_limit(answered: int, speaks: bool, closes: int) -> None:
    """A client that asks every 2.5 s, and a process that is killed now and then. Two requests after longer rests were answered
    (more than twice as many, where several closes seem to show a limit)."""
    server = Server(0.03, "Server: our own\\r\\n")
    survivors = answered if closes == 1 else 6 + answered - 1
    for number in range(closes):
        server.idle(10 + 30 * number, 2.5)
    for number in range(survivors):
        server.used_again(200 + 30 * number, 2.7)
    server.met(2.5, 0.001, "R.", 600)
    found = [one for one in findings(server.text()) if one.severity == "error"]
    assert [(one.rule, one.kind) for one in found] == [("keep-alive-race", "at-limit") if speaks else ("no-response", "unread")]
