"""Messages lead to the rules that explain them, in their order: alone, and inside whatever stands around them in a log."""

from __future__ import annotations

import random
import re
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sweeps import FORMS, SLOW, sweep
from wiredoctor.report.terminal.error_messages import messages
from wiredoctor.report.terminal.manual import write_message
from wiredoctor.report.terminal.message_search import search_all
from wiredoctor.report.terminal.rule_search import MAX_RULES, at_once, find, message
from wiredoctor.report.terminal.terminal import Terminal
from wiredoctor.rule_engine import catalogue

PASTED = [
    (said, tuple(rules.replace("-\n", "").split()) if rules.strip() != "-" else ())
    for line in Path(__file__).with_name("pasted.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
    for said, rules in [line.rsplit(" => ", 1)]
]
"""What users paste, and the rules in their order; none where nothing is judged."""

CODES = re.compile(r"^(?:[A-Za-z]{2}--|[A-Z]{2,3} |EPIPE$|GOAWAY$|UNAVAILABLE$)")
"""Begins what counts with its case only."""

IN_PASSING = {
    *("NAT", "MTU", "PMTUD", "IPS", "DNS", "rmem", "one pod", "backlog", "http2", "gRPC", "10054", "10060", "10061", "EPIPE"),
    *("UC", "UF", "connection was closed", "413", "502", "TCP_NODELAY", "sockets in TIME_WAIT", "packet loss", "proxy_buffering"),
}
"""Words that other texts use in passing: they count where not much else is said."""

AROUND = [
    "{}",
    "2026-11-22T12:00:01.123Z ERROR [pool-3-thread-7] a.b.Shop - call of https://api.example.com:8443/v1/a?id=7: {} (try 2 of 3)",
    'time="2026-11-22T12:00:01+01:00" level=error msg="{}" peer=[2001:db8::7]:443 took=1.234s',
    '{{"ts":1795348800.25,"level":"error","msg":"{}","caller":"shop/client.go:127","attempt":2}}',
    "Nov 22 12:00:01 web-7 shop[4711]: \x1b[31merror\x1b[0m {}\n    at call (/srv/shop/client.js:12:34)",
    '2026/11/22 12:00:01 [error] 31#31: *57 {}, client: 10.0.0.1, server: a.example, request: "GET /b HTTP/1.1"',
    "WARN  o.e.Shop\tworker-2\t{}\\nCaused by: unknown",
    "[Sun Nov 22 12:00:01.123456 2026] [shop:error] [pid 4711:tid 140] [client 192.0.2.7:51234] {}",
]
"""Lines of logs, with a place for a message."""

QUOTES = str.maketrans({"'": "\u2019", '"': "\u201c"})


def filled(said: str, seed: int) -> str:
    """The message with hosts, ports and numbers."""
    any_of = random.Random(f"{seed} {said}")
    fill = {
        "host": lambda: any_of.choice(
            ["localhost", "api.example.com", "10.9.0.2", "[2001:db8::1]", "shop-7f9c.svc.cluster.local"]
        ),
        "address": lambda: any_of.choice(["10.9.0.2", "192.0.2.77", "[2001:db8::1]", "[fe80::1%eth0]"]),
        "port": lambda: str(any_of.choice([80, 443, 8080, 51234])),
        "path": lambda: any_of.choice(["/", "/v1/items/77?x=1&y=a%20b", "/a/b-c/d_e.html"]),
        "n": lambda: any_of.choice(["0", "7", "1024", "98765", "1,234,567"]),
    }
    return re.sub(r"\{(host|address|port|path|n)\}", lambda found: fill[found[1]](), said)


def check(words: str, rules: tuple[str, ...]) -> None:
    """The rules in their order, before all others; five at most."""
    told, found, said = message(catalogue(), words), find(catalogue(), words), search_all(words)
    assert told is not None, words
    assert told.rules == rules, words
    names = [entry.name for entry in found.entries]
    assert tuple(names[: len(rules)]) == rules
    assert len(names) <= MAX_RULES
    assert found.sure == bool(names) == bool(rules)
    best = max(one[:2] for one in said)
    assert {id(row) for *size, row in said if tuple(size) == best} == {id(told)}, "two rows of one length"


@pytest.mark.parametrize(("said", "rules"), sweep(PASTED, PASTED[::6].__contains__))
def test_alone(said: str, rules: tuple[str, ...]) -> None:
    for seed in range(3):
        check(filled(said, seed), rules)


@FORMS
@pytest.mark.parametrize(("said", "rules"), sweep([one for one in PASTED if one[0] not in IN_PASSING], PASTED[::12].__contains__))
def test_inside_a_line_of_a_log(said: str, rules: tuple[str, ...]) -> None:
    for number, line in enumerate(random.Random(said).sample(AROUND, 3)):
        if not (CODES.match(said) and re.match("[A-Z]{2,3} ", said)):
            check(line.format(filled(said, number)), rules)


@FORMS
@pytest.mark.parametrize(("said", "rules"), sweep([one for one in PASTED if not CODES.match(one[0])], PASTED[::12].__contains__))
def test_disguised(said: str, rules: tuple[str, ...]) -> None:
    """Other quotation marks, white space, case; escaped as in JSON."""
    plain = filled(said, 1)
    for text in (
        plain.translate(QUOTES),
        plain.replace(" ", " \t\n "),
        plain.upper(),
        plain.lower(),
        plain.replace('"', '\\"').replace("'", "\\'"),
        plain.replace('"', "&quot;").replace("'", "&#39;"),
    ):
        check(text, rules)


@pytest.mark.parametrize("seed", sweep(range(30), range(3).__contains__))
def test_random_lines_around(seed: int) -> None:
    """What stands in logs and is no message changes nothing."""
    any_of = random.Random(seed)
    words = [
        "INFO",
        "2026-11-22",
        "12:00:01,123",
        "shop",
        "request",
        "id=77",
        "10.0.0.1:8080",
        "user",
        "{",
        "}",
        "->",
        "main.py:12",
    ]
    for said, rules in any_of.sample(PASTED, 40):
        if said not in IN_PASSING and not re.match("[A-Z]{2,3} ", said):
            before, after = (" ".join(any_of.choices(words, k=any_of.randrange(12))) for _ in "ab")
            check(f"{before} {filled(said, seed)} {after}", rules)


STATES = {
    line: rules
    for state, rules in PASTED
    if re.match("[A-Za-z]{2}--$", state)
    for cookies in ("--", "VN", "NI", "-N")
    for line in [
        f"haproxy[14389]: 10.0.1.2:333 [22/Nov/2026:12:14:14.655] front back/srv1 10/0/30/69/109 200 27 - - {state[:2]}{cookies} "
        '1/1/1/1/0 0/0 "GET /i HTTP/1.1"'
    ]
}


@pytest.mark.parametrize("line", STATES)
def test_termination_states_of_haproxy(line: str) -> None:
    """The first two characters count, with case; the two behind them are about cookies."""
    check(line, STATES[line])


FLAGS = {flag: rules for said, rules in PASTED for flag in re.findall(r"^(U[A-Z]{1,2}|DC|DPE|LR|SI|NR|RL) [a-z]", said)}


@pytest.mark.parametrize("flag", FLAGS)
def test_response_flags_of_envoy(flag: str) -> None:
    check(flag, FLAGS[flag])
    access = (
        f'[2026-11-22T12:00:00.000Z] "GET /x HTTP/1.1" 503 {flag} - - "-" 0 95 3 - "-" "curl/8" "a-b-c" "a.example" "10.0.0.1:80"'
    )
    check(access, FLAGS[flag])
    check(f'{{"method":"GET","response_code":0,"response_flags":"{flag}","upstream_host":"10.0.0.1:80"}}', FLAGS[flag])


@pytest.mark.parametrize(
    "words",
    [
        "nothing of that", "a signature that a national mint of coins denies", "timeout", "shvn",
        "SHVN is a word in a long text of other words", "uc", "503 Service Unavailable", "sH-- and sh", "404", "499",
        "we moved 3 UT offices and 2 DC ones last year", "eof", "RETRY: gateway", "he wrote a post about it",
    ],
)  # fmt: skip
def test_other_words(words: str) -> None:
    """A short word counts only where not much else is said, and as a whole; a code with its case."""
    assert message(catalogue(), words) is None or words.startswith("sH-- ")


def test_a_short_word_in_a_long_text_is_said_in_passing() -> None:
    assert message(catalogue(), "behind our NAT every request gets a 401 from the proxy") is None


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        ("TypeError: fetch failed\n  [cause]: Error: connect ECONNREFUSED 127.0.0.1:8080", "connect-failed gateway-error"),
        (
            "TypeError: fetch failed { [cause]: SocketError: other side closed }",
            "keep-alive-race no-response truncated-response gateway-error",
        ),
        ("TypeError: terminated { [cause]: SocketError: other side closed }", "truncated-response gateway-error idle-cut"),
        ("http: proxy error: dial tcp 10.0.0.1:80: connect: connection refused", "connect-failed"),
        ("http: proxy error: EOF", "keep-alive-race no-response gateway-error"),
        (
            "HTTPConnectionPool(host='a', port=80): Max retries exceeded with url: / (Caused by NewConnectionError('<urllib3."
            "connection.HTTPConnection object at 0x7f>: Failed to establish a new connection: [Errno 113] No route to host'))",
            "connect-failed",
        ),
        (
            "java.io.IOException: HTTP/1.1 header parser received no bytes\n\tat x.y(Z.java:7)\nCaused by: java.io.EOFException: "
            "EOF reached while reading",
            "keep-alive-race no-response premature-close gateway-error",
        ),
        (
            "cURL error 52: Empty reply from server (see https://curl.haxx.se/libcurl/c/libcurl-errors.html)",
            "keep-alive-race no-response gateway-error",
        ),
        ("OSError: [Errno 113] No route to host", "connect-failed"),
        ("connect EHOSTUNREACH 10.1.2.3:8443", "connect-failed"),
        ('Get "http://a.example:81/": dial tcp [2001:db8::1]:81: i/o timeout', "connect-failed connect-retry"),
        (
            "ssh: connect to host 192.0.2.7 port 22: Connection timed out",
            "unanswered connect-failed connect-retry retransmission-stall",
        ),
        ('Get "http://b:9/": context deadline exceeded', "slow-response unanswered connect-failed client-abort"),
        ("close code 1006", "idle-cut truncated-response"),
        ("GetAddrInfo failed for a.example", ""),
        ("accept queue full", "connect-retry connect-failed"),
        ("header parser received no", "keep-alive-race no-response premature-close gateway-error"),
        ("503 UF,URX", "connect-failed no-response keep-alive-race"),
    ],
)
def test_lines_of_programs(line: str, rules: str) -> None:
    """A message that quotes another one leaves the answer to that; a part of a message is that message."""
    told = message(catalogue(), line)
    assert told is not None
    assert list(told.rules) == rules.split()


@SLOW
@pytest.mark.parametrize("width", [80, 160])
def test_every_answer_can_be_written(width: int) -> None:
    """What decides comes first; then what the words mean, of which program they are, and the rules with their kinds."""
    for said, rules in PASTED:
        if not rules:
            continue
        told = message(catalogue(), filled(said, 0))
        assert told is not None
        out = StringIO()
        write_message(told, find(catalogue(), filled(said, 0)).entries, out, Terminal(width))
        lead, page = out.getvalue().split("\n\n", 1)
        assert page.startswith(f"{rules[0]} (family "), said
        assert max(map(len, lead.splitlines())) <= width
        text = " ".join(lead.split())
        assert text.startswith(
            "How to decide: " if any(case.when[:2] in ("re", "if") for case in told.cases) else "What the words mean"
        )
        assert told.software in text
        assert ("unverified" in text) == (told.read == "u")
        assert ("Source: " in text) == (told.read in ("s", "d"))
        for name in rules:
            assert (f"{name} ({told.kinds[name]})" if told.kinds[name] else name) in text


def test_rows_name_rules_and_kinds_that_exist() -> None:
    rules = catalogue()
    for row in messages():
        assert len(row.rules) <= MAX_RULES, row.said
        assert len(set(row.rules)) == len(row.rules), row.said
        assert set(row.rules) <= rules.keys(), row.said
        for name, kinds in row.kinds.items():
            if kinds:
                of_rule = [by for by in (rules[name].rule.severity, rules[name].rule.title) if not isinstance(by, str)]
                assert set(kinds.split(", ")) <= {kind for by in of_rule for kind in by}, (name, kinds)


def test_rows_are_whole() -> None:
    for row in messages():
        assert row.said
        assert row.means
        assert row.read in ("s", "d", "i", "u", "")
        assert bool(row.source) or row.read in ("u", ""), row.said
        assert not row.read or row.software, "a message of a program names it"


def test_no_words_are_in_two_rows() -> None:
    said = [words.lower() if words[-2:] != "--" else words for row in messages() for words in row.said]
    assert len(said) == len(set(said))


@SLOW
def test_all_rows_are_tried() -> None:
    """Each row is the answer to something that is pasted above."""
    answers = {id(told) for said, _ in PASTED if (told := max(search_all(filled(said, 0)), key=lambda one: one[:2])[2])}
    assert [row.said for row in messages() if id(row) not in answers] == []


PIECES = [
    *(words for row in messages() for words in row.said),
    *(rule.rule.symptom for rule in catalogue().values()),
    *(
        "502",
        "stalls",
        "capture",
        "\\",
        "(",
        "[",
        "*",
        "\x00",
        "\ud800",
        "=",
        "%",
        "~",
        "--",
        "...",
        "UC,",
        "SH",
        "&#xD800;",
        "&#0;",
        "\x1b[",
    ),
]


@SLOW
@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=20)), max_size=8).map(" ".join))
def test_no_question_fails(words: str) -> None:
    """Whatever is asked, there are five rules at most, or those of a family, or a line that there are none."""
    found = find(catalogue(), words)
    named = at_once(found.entries, words)
    asked = re.findall(r"[a-z0-9]+", words.lower())  # punctuation around a family's name does not matter
    assert len(named) <= MAX_RULES or asked in [one.family.split("-") for one in named]
    told = message(catalogue(), words)
    assert told is None or found.sure == bool(told.rules)


def test_a_family_is_named_whole() -> None:
    found = find(catalogue(), "stalls").entries
    assert {one.name for one in catalogue().values() if one.family == "stalls"} <= {one.name for one in at_once(found, "stalls")}
    assert len(at_once(find(catalogue(), "connection").entries, "connection")) == MAX_RULES


@SLOW
def test_a_long_text_takes_no_time() -> None:
    """Half a megabyte of what almost is a message."""
    assert message(catalogue(), "Post Failed to connect to Connection aborted read tcp dial tcp " * 8000) is not None
