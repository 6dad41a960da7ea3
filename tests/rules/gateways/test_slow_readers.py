"""A server behind a gateway that reads a request slowly: what is said about the gateway, and about the server."""

from __future__ import annotations

from wiredoctor.findings import Finding
from wiredoctor.testing import findings

LENGTH = 2 * 1460 * 30
HEAD = rf'"POST /7/up HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n"'
OK = '"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"'
BAD = '"HTTP/1.1 504 Gateway Time-out\\r\\nContent-Length: 3\\r\\n\\r\\nbad"'


def opened(number: int, client: str, server: str, start: float = 0.0) -> list[str]:
    return [
        f"connection {number}, client {client}, server {server}",
        f"  {start:.4f}  >  S    mss 1460",
        f"  {start + 0.0004:.4f}  <  S.   mss 1460",
        f"  {start + 0.0004:.4f}  >  .",
    ]


def in_front(end: float, answer: str = OK, closed: tuple[float, float] = (0.012, 1.0), sent: int = LENGTH) -> list[str]:
    """The client's connection; the gateway's window is `closed` at these times (s)."""
    half = sent // 2
    return [
        *opened(1, "10.0.0.1:50001", "10.0.0.2:80"),
        f"  0.0010  >  P.   {HEAD}",
        *(f"  {0.0101 + 0.00001 * n:.5f}  >  .   b*1460" for n in range(half // 1460)),
        f"  {closed[0]:.4f}  <  .   win 0",
        f"  {closed[0] + 0.2:.4f}  >  .   {half + len(HEAD) - 10}:{half + len(HEAD) - 10}",
        f"  {closed[0] + 0.2004:.4f}  <  .",
        f"  {closed[1]:.4f}  <  .   win 65535",
        *(f"  {closed[1] + 0.0001 + 0.00001 * n:.5f}  >  .   b*1460" for n in range((sent - half) // 1460)),
        f"  {closed[1] + 0.01:.4f}  <  .",
        f"  {end:.4f}  <  P.   {answer}",
        f"  {end + 0.001:.4f}  >  F.",
        f"  {end + 0.0014:.4f}  <  F.",
    ]


def slow_behind(rounds: int, pace: float = 0.05, early_zero: bool = False, window: int = 2920) -> list[str]:
    """The gateway's connection: the server makes room for two segments each `pace` seconds."""
    lines = [*opened(2, "10.0.0.2:50002", "10.0.0.3:8001", 0.0020), f"  0.0030  >  P.   {HEAD}"]
    lines.append(f"  0.0034  <  .   win {window}")
    for n in range(rounds):
        at = 0.02 + n * pace
        if n == 1 and early_zero:
            lines += [f"  {at - 0.04:.4f}  <  .   win 0"]
        lines += [
            *([f"  {at - 0.0004:.4f}  <  .   win {window}"] if n else []),
            f"  {at:.4f}  >  .   b*1460",
            f"  {at + 0.0001:.4f}  >  .   b*1460",
        ]
    return lines


def said(*lines: str) -> dict[str, Finding]:
    found = findings("\n".join(lines), select=["gateway-error", "zero-window-stall", "slow-response"])
    return {f"{one.rule} {one.kind or ''}".strip(): one for one in found}


def behind_ends(rounds: int) -> list[str]:
    end = 0.02 + (rounds - 1) * 0.05 + 0.05
    return [f"  {end:.4f}  <  .", f"  {end + 0.001:.4f}  <  P.   {OK}", f"  {end + 0.0015:.4f}  >  ."]


def test_a_gateway_that_sends_on_as_fast_as_its_server_reads_is_not_the_slow_reader() -> None:
    found = said(*in_front(1.53), *slow_behind(30), *behind_ends(30))
    assert [*found] == ["zero-window-stall server-behind"]
    [one] = found.values()
    assert "The server behind the gateway read slowly" in one.title
    assert "10.0.0.3:8001" in one.message
    assert "10.0.0.3:8001" in one.remedy


def test_a_gateway_that_does_not_send_on_what_its_server_would_read_is_the_slow_reader() -> None:
    """The window of the server is always open."""
    found = said(*in_front(1.53), *slow_behind(30, window=60_000), *behind_ends(30))
    assert [*found] == ["zero-window-stall"]
    assert "The server did not read fast enough" in found["zero-window-stall"].title


def test_a_request_that_the_server_still_reads_when_the_gateway_gives_up() -> None:
    found = said(*in_front(1.2, BAD), *slow_behind(28, early_zero=True))
    one = found["gateway-error unsent"]
    assert "read the request too slowly" in one.title
    assert "it had received only part of the request after 1.2 s" in one.message
    assert "window" not in one.message
    assert not one.caused_by
