"""Messages that say little of a fault lead to the rules that explain them, in their order."""

from __future__ import annotations

import pytest

from wiredoctor.report.finder import MOST_RULES, find, message
from wiredoctor.report.messages import GAP, MESSAGES
from wiredoctor.rules import catalogue

SILENCE = [
    ("read timed out; ReadTimeout; SocketTimeoutException: Read timed out; ESOCKETTIMEDOUT",
     "unanswered slow-response client-abort zero-window-stall"),
    ("connect timed out; ConnectTimeout; connection attempt timed out; i/o timeout (dial tcp); UND_ERR_CONNECT_TIMEOUT",
     "connect-failed connect-retry"),
    ("No route to host; EHOSTUNREACH; Network is unreachable; ENETUNREACH; Host unreachable; administratively prohibited",
     "connect-failed"),
    ("hangs with large requests; small requests work; MTU; PMTUD; black hole; fragmentation needed; MSS clamping; "
     "ping works but curl hangs", "unanswered"),
    ("NAT; conntrack; idle connection dropped; firewall timeout; works after reconnect; first request after a pause fails; "
     "350 seconds; 4 minutes", "unanswered keep-alive-race"),
    ("backlog; accept queue; listen overflows; SYN dropped; somaxconn; 1 second, 3 seconds, 7 seconds connect",
     "connect-retry connect-failed"),
    ("WebSocket 1006; abnormal closure; websocket closes after 60 seconds; SSE disconnects; EventSource reconnects; "
     "idle timeout; proxy_read_timeout; tunnel timeout", "idle-cut truncated-response"),
    ("reset by firewall; who sent the RST; injected reset; IPS; middlebox; ERR_CONNECTION_RESET",
     "foreign-reset keep-alive-race no-response reset-destroys-response truncated-response"),
    ("slow download; throughput; bandwidth-delay product; window scaling; receive buffer; rmem; SO_RCVBUF; SO_SNDBUF",
     "limited-transfer zero-window-stall retransmission-stall"),
    ("one server is slow; intermittent slowness; one pod; uneven latency", "slow-sibling slow-response"),
    ("packets dropped by kernel; dropped by interface; ring buffer; missing packets", "capture-loss"),
    ("DNS; getaddrinfo; name resolution; EAI_AGAIN; 5 seconds before the request", ""),
    ("GOAWAY; RST_STREAM; ENHANCE_YOUR_CALM; too_many_pings; stream error; http2; gRPC; UNAVAILABLE; transport is closing", ""),
    ("Connection timed out; ETIMEDOUT; errno 110; 10060; WSAETIMEDOUT",
     "unanswered connect-failed connect-retry retransmission-stall"),
    ("context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
     "slow-response unanswered connect-failed client-abort"),
]  # fmt: skip
"""What users say of silence, and the rules in their order; none where nothing is judged."""

WORDS = [(said, tuple(rules.split())) for row, rules in SILENCE for said in row.split("; ")]

QUOTED = [
    ("curl: (7) Failed to connect to example.org port 81 after 3 ms: No route to host", "No route to host"),
    ("OSError: [Errno 113] No route to host", "No route to host"),
    ("connect EHOSTUNREACH 10.1.2.3:8443", "No route to host"),
    ("java.net.SocketTimeoutException: Read timed out", "read timed out"),
    ("HTTPConnectionPool(host='a.example', port=8080): Read timed out. (read timeout=5)", "read timed out"),
    ("java.net.SocketTimeoutException: connect timed out", "connect timed out"),
    ("dial tcp 192.0.2.7:443: i/o timeout", "connect timed out"),
    ('Get "http://a.example:81/": dial tcp [2001:db8::1]:81: i/o timeout', "connect timed out"),
    ("connect ETIMEDOUT 10.1.2.3:80", "Connection timed out"),
    ("ssh: connect to host 192.0.2.7 port 22: Connection timed out", "Connection timed out"),
    ('Get "http://b:9/": context deadline exceeded', "context deadline exceeded"),
    ("close code 1006", "WebSocket 1006"),
    ("NAT timeout", "NAT"),
    ("accept queue full", "backlog"),
    ("GetAddrInfo failed for a.example", "DNS"),
]
"""Lines as programs write them, with the words of a row that says the same."""


def names(words: str) -> list[str]:
    return [entry.name for entry in find(catalogue(), words).entries]


@pytest.mark.parametrize(("said", "rules"), WORDS)
def test_words_of_silence(said: str, rules: tuple[str, ...]) -> None:
    """The rules that there are, in their order, before all others; five at most."""
    known = message(said)
    assert known is not None
    assert known.rules == rules
    expected = [rule for rule in rules if rule in catalogue()]
    if rules and not expected:
        return
    found = names(said)
    assert found[: len(expected)] == expected
    assert len(found) <= MOST_RULES
    assert find(catalogue(), said).sure == bool(rules)
    if not rules:
        assert found == []


@pytest.mark.parametrize(("line", "like"), QUOTED)
def test_lines_of_programs(line: str, like: str) -> None:
    known = message(line)
    assert known is not None
    assert known == message(like)


@pytest.mark.parametrize("words", ["nothing of that kind", "a signature that a national mint of coins denies", "timeout", "slow"])
def test_other_words(words: str) -> None:
    """A short word counts only where not much else is said, and as a whole."""
    assert message(words) is None


def test_a_short_word_in_a_long_text_is_said_in_passing() -> None:
    assert message("behind our NAT every request gets a 401 from the proxy") is None


def test_rows_name_rules_that_exist() -> None:
    assert {rule for row in MESSAGES for rule in row.rules} <= catalogue().keys()
    assert all(len(row.rules) <= MOST_RULES for row in MESSAGES)


def test_no_words_are_in_two_rows() -> None:
    said = [words.lower() for row in MESSAGES for words in row.said]
    assert len(said) == len(set(said))
    for row in MESSAGES:
        for words in row.said:
            known = message(words.replace(GAP, "10.0.0.1:80"))
            assert known is row, words


def test_all_rows_are_tried() -> None:
    assert {message(said) for said, _ in WORDS} == set(MESSAGES)
