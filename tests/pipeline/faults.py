"""Conversations with several faults at once on one connection, made at random: what no recording has, and no ladder by hand.

They are drawn as a client sees them: an answer comes a round trip after what it answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st

HEAD = "HTTP/1.1 {status}\\r\\n{fields}\\r\\n"


@dataclass
class Drawing:
    """A conversation while it is being drawn: the time, in milliseconds, and the next sequence number of each side."""

    rtt: int
    now: float = 0
    sent: dict[str, int] = field(default_factory=lambda: {">": 1, "<": 1})
    lines: list[str] = field(default_factory=list[str])
    open: bool = True
    waiting: bool = False

    def packet(self, side: str, flags: str = ".", text: str = "", more: str = "") -> None:
        """A packet now. `text` is a payload, with Python's escapes."""
        payload = f'"{text}" ' if text else ""
        self.lines.append(f"  {self.now / 1000:.6f}  {side}  {flags}  {payload}{more}")
        self.sent[side] += len(text.encode().decode("unicode_escape")) + ("F" in flags)

    def again(self, side: str, text: str) -> None:
        """The payload that was sent last, once more."""
        end = self.sent[side]
        length = len(text.encode().decode("unicode_escape"))
        self.lines.append(f'  {self.now / 1000:.6f}  {side}  P.  "{text}" {end - length}:{end}')

    def wait(self, milliseconds: float) -> None:
        """Lets time pass."""
        self.now += milliseconds

    def travel(self) -> None:
        """So long until an answer can be there."""
        self.now += self.rtt + 0.1


def _request(d: Drawing, method: str = "GET", fields: str = "") -> str:
    return f"{method} /{len(d.lines)} HTTP/1.1\\r\\nHost: a\\r\\n{fields}\\r\\n"


def _ask(d: Drawing) -> None:
    d.packet(">", "P.", _request(d))
    d.travel()


def _answer(d: Drawing, status: str = "200 OK", fields: str = "Content-Length: 5\\r\\n", body: str = "hello") -> None:
    d.packet("<", "P.", HEAD.format(status=status, fields=fields) + body)
    d.wait(0.1)
    d.packet(">")


def plain(d: Drawing) -> None:
    _ask(d)
    _answer(d)


def unauthorized(d: Drawing) -> None:
    _ask(d)
    _answer(d, "401 Unauthorized")


def slow(d: Drawing) -> None:
    _ask(d)
    d.wait(1500)
    _answer(d)


def acknowledged_and_slow(d: Drawing) -> None:
    _ask(d)
    d.packet("<")
    d.wait(2500)
    _answer(d)


def body_held_back(d: Drawing) -> None:
    _ask(d)
    _held_back(d)


def slow_and_body_held_back(d: Drawing) -> None:
    _ask(d)
    d.wait(1200)
    _held_back(d)


def _held_back(d: Drawing) -> None:
    d.packet("<", "P.", HEAD.format(status="200 OK", fields="Content-Length: 5\\r\\n"))
    d.wait(200)
    d.packet(">")
    d.travel()
    d.packet("<", "P.", "hello")


def request_held_back(d: Drawing) -> None:
    d.packet(">", "P.", _request(d, "POST", "Content-Length: 5\\r\\n"))
    d.travel()
    d.wait(40)
    d.packet("<")
    d.packet(">", "P.", "hello")
    d.travel()
    _answer(d)


def request_lost(d: Drawing) -> None:
    text = _request(d)
    d.packet(">", "P.", text)
    d.wait(300 + 2 * d.rtt)
    d.again(">", text)
    d.travel()
    _answer(d)


def request_lost_and_slow(d: Drawing) -> None:
    text = _request(d)
    d.packet(">", "P.", text)
    d.wait(300 + 2 * d.rtt)
    d.again(">", text)
    d.travel()
    d.packet("<")
    d.wait(1500)
    _answer(d)


def response_lost(d: Drawing) -> None:
    """Its first segment came late, behind the second."""
    _ask(d)
    first, second = HEAD.format(status="200 OK", fields="Content-Length: 10\\r\\n") + "hello", "world"
    begin = d.sent["<"]
    middle = begin + len(first.encode().decode("unicode_escape"))
    d.lines.append(f'  {d.now / 1000:.6f}  <  P.  "{second}" {middle}:{middle + 5}')
    d.wait(0.1)
    d.packet(">", ".", "", f"sack {middle}:{middle + 5}")
    d.wait(300 + 2 * d.rtt)
    d.lines.append(f'  {d.now / 1000:.6f}  <  P.  "{first}" {begin}:{middle}')
    d.sent["<"] = middle + 5
    d.wait(0.1)
    d.packet(">")


def reader_asleep(d: Drawing) -> None:
    _ask(d)
    d.packet("<", "P.", HEAD.format(status="200 OK", fields="Content-Length: 10\\r\\n") + "hello")
    d.wait(0.1)
    d.packet(">", ".", "", "win 0")
    d.wait(400)
    d.packet(">", ".", "", "win 64240")
    d.travel()
    d.packet("<", "P.", "world")
    d.wait(0.1)
    d.packet(">")


def expectation(d: Drawing) -> None:
    d.packet(">", "P.", _request(d, "POST", "Expect: 100-continue\\r\\nContent-Length: 5\\r\\n"))
    d.travel()
    d.packet("<")
    d.wait(1000)
    d.packet(">", "P.", "hello")
    d.travel()
    _answer(d)


def streamed(d: Drawing) -> None:
    _ask(d)
    d.packet("<", "P.", HEAD.format(status="200 OK", fields="Transfer-Encoding: chunked\\r\\n") + "2\\r\\nab\\r\\n")
    for _ in range(3):
        d.wait(0.1)
        d.packet(">")
        d.wait(100 + d.rtt)
        d.packet("<", "P.", "2\\r\\ncd\\r\\n")
    d.packet("<", "P.", "0\\r\\n\\r\\n")
    d.wait(0.1)
    d.packet(">")


def announced_close(d: Drawing) -> None:
    _ask(d)
    _answer(d, fields="Connection: close\\r\\nContent-Length: 5\\r\\n")


def unframed(d: Drawing) -> None:
    _ask(d)
    _answer(d, fields="")
    d.open = False
    d.wait(2500)


def too_much(d: Drawing) -> None:
    _ask(d)
    _answer(d, body="hello and more")
    d.open = False


def broken_chunk(d: Drawing) -> None:
    _ask(d)
    _answer(d, fields="Transfer-Encoding: chunked\\r\\n", body="zz\\r\\nhello\\r\\n0\\r\\n\\r\\n")
    d.open = False


def cut_short(d: Drawing) -> None:
    _ask(d)
    _answer(d, fields="Content-Length: 500\\r\\n")
    d.open = False
    d.waiting = True


def unanswered(d: Drawing) -> None:
    _ask(d)
    d.packet("<")
    d.open = False
    d.waiting = True


def left_open(d: Drawing) -> None:
    d.wait(1)


def server_closes(d: Drawing) -> None:
    d.wait(d.rtt + 1)
    d.packet("<", "F.")
    d.wait(0.1)
    d.packet(">", "F.")


def server_closes_late(d: Drawing) -> None:
    d.wait(5200)
    server_closes(d)


def server_resets(d: Drawing) -> None:
    d.wait(d.rtt + 1)
    d.packet("<", "R.")


def client_closes(d: Drawing) -> None:
    d.wait(1)
    d.packet(">", "F.")
    d.travel()
    d.packet("<", "F.")


def client_resets(d: Drawing) -> None:
    d.wait(3000)
    d.packet(">", "R.")


def race(d: Drawing) -> None:
    """The request leaves before the FIN is there."""
    _ask_too_late(d, 0)


def close_then_race(d: Drawing) -> None:
    d.wait(d.rtt + 1)
    d.packet("<", "F.")
    d.wait(0.1)
    d.packet(">")
    d.wait(2500)
    d.packet(">", "P.", _request(d))
    d.travel()
    d.packet("<", "R", "", f"{d.sent['<']}:{d.sent['<']}")


def idle_then_race(d: Drawing) -> None:
    _ask_too_late(d, 5100)


def _ask_too_late(d: Drawing, rest: float) -> None:
    d.wait(rest + d.rtt + 1)
    known = d.sent["<"]
    d.packet(">", "P.", _request(d), f"ack {known}")
    d.wait(d.rtt / 2)
    d.packet("<", "F.", "", f"ack {d.sent['>'] - len(_request_bytes(d))}")
    d.wait(d.rtt + 0.1)
    d.packet("<", "R", "", f"{known}:{known}")


def _request_bytes(d: Drawing) -> bytes:
    text = d.lines[-1].partition('"')[2].rpartition('"')[0]
    return text.encode().decode("unicode_escape").encode()


Step = Callable[[Drawing], None]

EXCHANGES: tuple[Step, ...] = (
    *(plain, unauthorized, slow, acknowledged_and_slow, body_held_back, slow_and_body_held_back, request_held_back),
    *(request_lost, request_lost_and_slow, response_lost, reader_asleep, expectation, streamed),
)
LAST_EXCHANGES: tuple[Step, ...] = (announced_close, unframed, too_much, broken_chunk, cut_short, unanswered)
ENDS: tuple[Step, ...] = (left_open, server_closes, server_closes_late, server_resets, client_closes, client_resets)
RACES: tuple[Step, ...] = (race, close_then_race, idle_then_race)


def drawn(rtt: int, steps: list[Step]) -> str:
    """The ladder of these steps on one connection; rtt in milliseconds."""
    d = Drawing(rtt)
    d.lines += ["  0  >  S  win 64240 mss 1460", f"  {rtt / 1000 + 0.0001:.6f}  <  S.  win 64240 mss 1460"]
    d.wait(rtt + 0.2)
    d.packet(">")
    for step in steps:
        d.wait(1)
        step(d)
    return "\n".join(d.lines)


@st.composite
def ladders(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A ladder with several faults, and the names of its steps."""
    steps = draw(st.lists(st.sampled_from(EXCHANGES), min_size=1, max_size=4))
    last = draw(st.sampled_from([None, *LAST_EXCHANGES]))
    ends = ENDS if last else ENDS + RACES
    steps += [*([last] if last else []), draw(st.sampled_from(ends))]
    return drawn(draw(st.sampled_from([0, 1, 20, 120])), steps), [step.__name__ for step in steps]
