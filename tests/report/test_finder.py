"""Test that rules are found by the words that people search for."""

from __future__ import annotations

import pytest

from tests.report.test_manual import RULE, Page
from tests.support.sweeps import sweep
from wiredoctor.report.terminal.rule_search import at_once, find
from wiredoctor.report.terminal.rule_search_words import SEARCHES
from wiredoctor.rule_engine import catalogue

PAGES = {
    page.name: page
    for page in (
        Page(),
        Page(name="premature-close", family="lifetime", doc="The server closed a connection.\n\nWhat it means\n    FIN, early."),
        Page(name="acme-lateness", family="acme", doc="Something came 7 ms late.\n\nWhat it means\n    Frobnication of widgets."),
    )
}


def names(words: str) -> list[str]:
    return [entry.name for entry in find(PAGES, words).entries]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("nagle-delayed-ack", "nagle-delayed-ack"),
        ("Nagle Delayed_ACK", "nagle-delayed-ack"),
        ("nagle", "nagle-delayed-ack"),
        ("TCP_NODELAY", "nagle-delayed-ack"),
        ("40 ms", "nagle-delayed-ack"),
        ("40ms", "nagle-delayed-ack"),
        ("broken pipe", "premature-close"),
        ("Error: server closes after 401 at connResetException (node:internal)", "premature-close"),
        ("frobnicating widget", "acme-lateness"),
        ("7ms", "acme-lateness"),
    ],
)
def test_one_rule_is_meant(words: str, name: str) -> None:
    found = find(PAGES, words)
    assert found.entries[0].name == name
    assert found.sure


def test_a_name_is_that_rule_and_no_other() -> None:
    assert find({"close": Page(name="close"), "close-2": Page(name="close-2")}, "close").sure


def test_words_of_many_rules_are_a_list_with_the_likeliest_first() -> None:
    pages = {name: Page(name=name, rule=RULE, doc="x") for name in ("keep-alive-race", "premature-close", "no-response")}
    found = find(pages, "connection was closed")
    assert not found.sure
    assert [entry.name for entry in found.entries] == ["premature-close", "keep-alive-race", "no-response"]


def test_a_word_in_passing_is_noise_beside_rules_that_are_about_it() -> None:
    pages = {n: Page(name=n, doc=d) for n, d in (("slow-response", "x"), ("tinygrams", "x"), ("other", "x\n\na slow host"))}
    found = find(pages, "slow")
    assert [e.name for e in found.entries] == ["slow-response", "tinygrams"]
    assert not found.sure


@pytest.mark.parametrize("words", ["", "  ", "xyzzy", "the", "?!"])
def test_nothing(words: str) -> None:
    assert names(words) == []
    assert not find(PAGES, words).sure


def test_some_of_many_words_will_do_where_nothing_else_does() -> None:
    assert names("widgets frobnicate everywhere") == ["acme-lateness"]


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("connection was closed", "premature-close"),
        ("40 ms", "nagle-delayed-ack"),
        ("nagle", "nagle-delayed-ack"),
        ("expected to be kept alive", "premature-close"),
        ("stream arrives at once", "unchunked-streaming"),
    ],
)
def test_the_rules_that_there_are(words: str, first: str) -> None:
    assert find(catalogue(), words).entries[0].name == first


@pytest.mark.parametrize(
    ("complaint", "first"),
    [
        ("delay between two TCP packets of a response", "nagle-delayed-ack"),
        ("every request takes 200 ms but only with keep-alive", "nagle-delayed-ack"),
        ("HSE_IO_NODELAY", "nagle-delayed-ack"),
        ("A connection that was expected to be kept alive was closed by the server", "keep-alive-race"),
        ("server closed the connection although keep-alive was expected", "premature-close"),
        ("server closes the connection after 401", "premature-close"),
        ("SF_STATUS_REQ_FINISHED_KEEP_CONN", "premature-close"),
        ("PreAuthenticate is true but every request gets a 401", "repeated-auth-challenge"),
        ("every request is sent twice", "repeated-auth-challenge"),
        ("502 now and then", "keep-alive-race"),
        ("request lost after idle time", "keep-alive-race"),
        ("Response.Flush does nothing", "unchunked-streaming"),
        ("Transfer-Encoding header is missing", "unchunked-streaming"),
        ("chunked response stopped working behind load balancer", "buffered-stream"),
        ("events arrive all at once", "buffered-stream"),
        ("resources are downloaded only after the whole page", "late-flush"),
        ("sub-resources start after the page has loaded", "late-flush"),
        ("connection stays open after the last chunk", "lingering-close"),
        ("Enable HTTP keep-alive", "keep-alive-disabled"),
        ("download hangs at 100 %", "missing-framing"),
        ("client reconnects for every request", "no-connection-reuse"),
        ("413 connection reset during upload", "reset-destroys-response"),
    ],
)
def test_complaints_of_the_stories(complaint: str, first: str) -> None:
    assert find(catalogue(), complaint).entries[0].name == first


QUESTIONS = {
    "keepalive timeout 504": ("gateway-error", "idle-close"),
    "nginx 504 upstream timed out": ("gateway-error", "slow-response"),
    "504 gateway timeout": ("gateway-error", "slow-response"),
    "connection reset after idle": ("keep-alive-race",),
    "slow first byte": ("slow-response",),
    "curl 52": ("keep-alive-race", "no-response"),
    "intermittent 502 alb node": ("keep-alive-race", "no-response"),
    "random 502 behind load balancer": ("keep-alive-race", "gateway-error"),
    "gunicorn 502 nginx keepalive": ("keep-alive-race", "gateway-error"),
    "502 only under load": ("keep-alive-race", "gateway-error"),
    "k8s ingress 502 pod restart": ("idle-close", "gateway-error"),
    "503 service unavailable haproxy": ("gateway-error",),
    "first request after idle fails": ("unanswered", "keep-alive-race"),
    "post hangs 1 second": ("expect-continue-stall",),
    "large response truncated": ("truncated-response",),
    "response cut off": ("truncated-response",),
    "sse not streaming behind nginx": ("buffered-stream", "unchunked-streaming"),
    "websocket disconnects after 60 seconds": ("idle-cut",),
    "499 nginx": ("client-abort", "slow-response"),
    "client closes connection early": ("client-abort",),
    "slow download": ("limited-transfer",),
    "tls handshake on every request": ("no-connection-reuse",),
    "python requests connection aborted": ("keep-alive-race",),
    "content-length mismatch": ("truncated-response", "excess-body"),
    "connect timeout 3 seconds": ("connect-retry", "connect-failed"),
}
"""Questions that name no message exactly, and the rules that explain what they mean: one of these is the likeliest."""


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions_of_several_words_find_the_likeliest_rules(question: str) -> None:
    found = [entry.name for entry in at_once(find(catalogue(), question).entries, question)]
    assert found[0] in QUESTIONS[question]
    assert {*QUESTIONS[question]} <= {*found}
    assert len(found) <= 5


@pytest.mark.parametrize("question", ["how to cook pasta", "every request of the server", "blue green violet"])
def test_words_that_say_nothing_about_a_rule_find_none(question: str) -> None:
    assert find(catalogue(), question) == ([], False)


def test_slow_names_the_rules_of_those_who_wait() -> None:
    found = find(catalogue(), "slow")
    assert "nagle-delayed-ack" in [e.name for e in found.entries[:4]]
    assert not found.sure


def test_econnreset_names_the_rules_of_lost_requests() -> None:
    assert {"keep-alive-race", "no-response"} <= {e.name for e in find(catalogue(), "ECONNRESET").entries}


@pytest.mark.parametrize("listed", sweep([slice(1), slice(1, None)], lambda listed: listed.start is None))
def test_every_rule_is_found_by_its_name_and_by_what_is_listed_for_it(listed: slice) -> None:
    rules = catalogue()
    for name in rules:
        assert find(rules, name) == ([rules[name]], True)
        for words in SEARCHES.get(name, ())[listed]:
            assert rules[name] in find(rules, words).entries, words
