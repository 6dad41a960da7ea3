"""Test which parts of a packet's text reports may contain: targets, hosts, methods, reason phrases, field names and payload."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import wiredoctor
from wiredoctor.findings import fingerprint
from wiredoctor.testing import capture
from wiredoctor.text import redact
from wiredoctor.text.redact import (
    identity_target,
    masked_host,
    masked_method,
    masked_reason,
    masked_target,
    redact_words,
    showing_secrets,
)
from wiredoctor.text.redact_tables import redact_table

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
LATIN = st.text(st.characters(max_codepoint=255))
SIGNS = [
    *"/a?&=#@:1\n\x80é+;.", "://", "http", "%3D", "token", "sid", "eyJ", "bot", "aB3xK9qL2m",
    *("/reset/", "/MTU/", "5f4-3bdc0a1b2c3d4e5f60718293", "/email-Verification/", "opt_out/", "unsub", "-", "_", "v1"),
    *("/services/T0/B0/", "/hooks/", "catch/1/", "/webhooks/123456789012345678/", "IncomingWebhook/", "/with/key/", "%3A", "SG."),
    *("AKIA", "AIza", "ghp_", "github_pat_", "glpat-", "sk_live_", "xoxb-", "ya29.", "npm_", "sk-", "sk-ant-", "whsec_"),
    *("/invites/", "GOCSPX-", "hf_", "xapp-1-", "ABCDEFGHIJKLMNOPQRSTUVWXYZ1234567890"),
]  # fmt: skip
TARGETS = st.lists(st.sampled_from(SIGNS), max_size=12).map("".join)
JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        # queries, RFC 3986 section 3.4
        ("/a?user=me&token=hunter2", "/a?user=(masked)&token=(masked)"),
        ("/a?hunter2", "/a?(masked)"),
        ("/a?", "/a?(masked)"),
        ("/a?b==c&&d", "/a?b=(masked)&(masked)&(masked)"),
        ("/?c2VjcmV0c2VjcmV0c2VjcmV0MTIz==", "/?(masked)=(masked)"),
        ("/?ann@example.com=1", "/?(masked)=(masked)"),
        ("/é?x=é", "/é?x=(masked)"),
        # user information, section 3.2.1
        ("http://me:hunter2@host/a#frag", "http://(masked)@host/a"),
        ("http://me:hunter@2@host/a", "http://(masked)@host/a"),
        ("http://me:hun/ter2@host/x", "http://(masked)/(masked)@host/x"),
        ("http://me:hun?ter2@host/", "http://(masked)?(masked)"),
        ("http://me:hun#ter2@host/", "http://(masked)"),
        ("me:hunter2@host:443", "(masked)@host:443"),
        ("host:443", "host:443"),
        ("[::1]:443", "[::1]:443"),
        ("/fetch/http://me:hunter2@host/x", "/fetch/http://(masked)@host/x"),
        ("data:hunter2", "(masked)"),
        # paths: secrets by their name or their form (RFC 7519)
        ("/a;jsessionid=A1B2C3?x=1", "/a;jsessionid=(masked)?x=(masked)"),
        ("/a;v=1;SID=A1B2C3/b;x=y", "/a;v=1;SID=(masked)/b;x=y"),
        ("/a%3Ftoken%3Dhunter2", "/a%3Ftoken%3D(masked)"),
        ("/password=hunter2/x", "/password=(masked)/x"),
        (f"/x/{JWT}", "/x/(masked)"),
        (f"/x/{JWT}/y", "/x/(masked)/y"),
        ("/bot12345:ABC-DEF1234ghIkl-zyx57W2v1u123ew11/send", "/(masked)/send"),
        ("/password/Hunter2", "/password/(masked)"),
        ("/password-reset/d41d8cd98f00b204e9800998ecf8427e", "/password-reset/(masked)"),
        ("/api/token/abc123/x", "/api/token/(masked)/x"),
        ("/a Authorization: Bearer abc", "/a (masked)"),
        ("/a\r\nCookie: abc", "/a (masked)"),
        # links that are sent by mail, RFC 9110 section 17.9
        ("/reset/d41d8cd98f00?a", "/reset/(masked)?(masked)"),
        ("/accounts/reset/MTU/5f4-3bdc0a1b2c3d4e5f60718293/", "/accounts/reset/MTU/(masked)/"),
        ("/accounts/reset/MTU1/5f4-3bdc0a1b2c3d4e5f60718293/", "/accounts/reset/(masked)/(masked)/"),
        ("/password-reset/MTU/5f4-3bdc0a1b2c3d4e5f60718293", "/password-reset/(masked)/(masked)"),
        ("/password/reset/confirm/Mg/5f4-3bdc0a1b2c3d4e5f60718293", "/password/reset/confirm/Mg/(masked)"),
        ("/users/confirmation/a1B2", "/users/confirmation/(masked)"),
        ("/Verify-Email/a1B2/done", "/Verify-Email/(masked)/done"),
        ("/email_verification/abcABCabcABCdefDEFaBcD", "/email_verification/(masked)"),
        ("/activate/a1B2", "/activate/(masked)"),
        ("/invitations/a1B2/accept", "/invitations/(masked)/accept"),
        ("/unsubscribe/a1B2/c3D4/e5F6", "/unsubscribe/(masked)/(masked)/e5F6"),
        ("/opt-out/a1B2", "/opt-out/(masked)"),
        ("/magiclink/a1B2", "/magiclink/(masked)"),
        ("/magic_link/a1B2", "/magic_link/(masked)"),
        ("/one-time-login/a1B2", "/one-time-login/(masked)"),
        ("http://host/recover/a1B2", "http://host/recover/(masked)"),
        # webhooks, as Slack, Discord, Telegram, Teams, Zapier, IFTTT, Mattermost and Rocket.Chat document theirs
        ("/services/T024BE7LD/B03G7JKLM/hT9wXq2", "/services/T024BE7LD/B03G7JKLM/(masked)"),
        ("/hooks/T0/B0/a1B2", "/hooks/T0/B0/(masked)"),
        ("/workflows/T0/A0/1234/a1B2", "/workflows/T0/A0/1234/(masked)"),
        ("/triggers/E0/1234/a1B2", "/triggers/E0/1234/(masked)"),
        ("/api/webhooks/123456789012345678/a-B_1/slack", "/api/webhooks/123456789012345678/(masked)/slack"),
        ("/bot12345%3AABC-DEF1234ghIkl-zyx57W2v1u123ew11/send", "/(masked)/send"),
        ("/webhookb2/9e@8f/IncomingWebhook/0a1b/9e", "/webhookb2/9e@8f/IncomingWebhook/(masked)/9e"),
        ("/hooks/catch/123/a1b2/", "/hooks/catch/123/(masked)/"),
        ("/trigger/door/with/key/a-B_1", "/trigger/door/with/key/(masked)"),
        ("/hooks/xk7iq3pdwbbbmjnbc4tqsbm8jo", "/hooks/(masked)"),
        ("/hooks/5a7b9c1d3e5f7a9b1c/x", "/hooks/5a7b9c1d3e5f7a9b1c/x"),
        ("/hooks/5a7b9c1d3e5f7a9b1c3d5e7f/a1B2", "/hooks/5a7b9c1d3e5f7a9b1c3d5e7f/(masked)"),
        # keys with a prefix that their issuer documents
        ("/x/AKIAIOSFODNN7EXAMPLE/y", "/x/(masked)/y"),
        (f"/x/ghp_{36 * 'a'}", "/x/(masked)"),
        (f"/x/github_pat_{11 * 'aB'}_{59 * 'c'}.git", "/x/(masked).git"),
        (f"/x/glpat-{20 * 'a'}", "/x/(masked)"),
        (f"/v=sk_live_{24 * 'a'};w", "/v=(masked);w"),
        (f"/x/rk_test_{24 * 'a'}", "/x/(masked)"),
        (f"/x/whsec_{32 * 'a'}", "/x/(masked)"),
        (f"/x/AIza{35 * 'a'}", "/x/(masked)"),
        (f"/x/ya29.{30 * 'a'}", "/x/(masked)"),
        (f"/x/GOCSPX-{28 * 'a'}", "/x/(masked)"),
        ("/x/xoxb-123456789012-abcdef", "/x/(masked)"),
        ("/x/xapp-1-A0123456789-abcdef", "/x/(masked)"),
        (f"/x/SG.{22 * 'a'}.{43 * 'b'}", "/x/(masked)"),
        (f"/x/npm_{36 * 'a'}", "/x/(masked)"),
        (f"/x/hf_{34 * 'a'}", "/x/(masked)"),
        (f"/x/sk-{48 * 'a'}", "/x/(masked)"),
        (f"/x/sk-ant-api03-{80 * 'a'}", "/x/(masked)"),
        # what is none
        ("/theme/reset.css", "/theme/reset.css"),
        ("/theme/reset/jquery.min.js", "/theme/reset/jquery.min.js"),
        ("/verify/phone_number", "/verify/phone_number"),
        ("/verify/v2/check", "/verify/v2/check"),
        ("/verify/resendVerificationEmailToUser", "/verify/resendVerificationEmailToUser"),
        ("/accounts/reset/MTU/set-password/", "/accounts/reset/MTU/set-password/"),
        ("/confirm/order/12345", "/confirm/order/12345"),
        ("/confirm", "/confirm"),
        ("/services/T0/B0/list", "/services/T0/B0/list"),
        ("/services/TV/users/12", "/services/TV/users/12"),
        ("/repos/a/hooks/12345", "/repos/a/hooks/12345"),
        ("/repos/a/webhooks/12345/deliveries/6", "/repos/a/webhooks/12345/deliveries/6"),
        ("/akia/AKIA/AIzaShort/sk-slovenska-republika", "/akia/AKIA/AIzaShort/sk-slovenska-republika"),
        ("/", "/"),
        ("*", "*"),
        ("", ""),
        ("/static/app.js", "/static/app.js"),
        ("/react@18.2.0/umd/react.js", "/react@18.2.0/umd/react.js"),
        ("/@types/node", "/@types/node"),
        ("/quick-brown-fox-2024-article-title-long", "/quick-brown-fox-2024-article-title-long"),
        ("/v1/getUserAccountInformationByName", "/v1/getUserAccountInformationByName"),
        ("/wiki/%D0%BF%D1%80%D0%B8%D0%B2%D0%B5%D1%82", "/wiki/%D0%BF%D1%80%D0%B8%D0%B2%D0%B5%D1%82"),
        ("/token/refresh", "/token/refresh"),
        ("/20240115103000123", "/20240115103000123"),
        ("/orders/550e8400-e29b-41d4-a716-446655440000/items/17", "/orders/550e8400-e29b-41d4-a716-446655440000/items/17"),
        ("/d41d8cd98f00b204e9800998ecf8427e", "/d41d8cd98f00b204e9800998ecf8427e"),
        ("/users/ann@example.com/x", "/users/ann@example.com/x"),
        ("/chunked;te=1,4;do_x", "/chunked;te=1,4;do_x"),
        ("http://d111111abcdef8xyz9.cloudfront.net/a", "http://d111111abcdef8xyz9.cloudfront.net/a"),
        ("http://host:8080/a/b.html", "http://host:8080/a/b.html"),
    ],
)
def test_targets(target: str, shown: str) -> None:
    assert masked_target(target) == shown
    rows = pl.LazyFrame({"request_target": [target, None]})
    told = redact_table("exchanges", rows.with_columns(pl.lit("").alias(n) for n in OTHERS)).select("request_target").collect()
    assert told.to_series().to_list() == [shown, None]


OTHERS = (
    *("request_method", "request_host", "request_referer", "request_upgrade", "request_content_encoding"),
    *("response_reason", "response_location", "response_upgrade", "response_content_encoding", "response_accel_buffering"),
)


@given(st.lists(st.one_of(LATIN, TARGETS, st.text()), max_size=20))
def test_tables_and_texts_are_masked_alike(texts: list[str]) -> None:
    masks = {
        "request_target": masked_target,
        "request_method": masked_method,
        "request_host": masked_host,
        "request_referer": masked_target,
        "response_reason": masked_reason,
        **{f"{side}_upgrade": partial(redact_words, "upgrade") for side in ("request", "response")},
        **{f"{side}_content_encoding": partial(redact_words, "content-encoding") for side in ("request", "response")},
        "response_location": masked_target,
        "response_accel_buffering": partial(redact_words, "x-accel-buffering"),
    }
    rows = pl.LazyFrame(dict.fromkeys(masks, texts), schema=dict.fromkeys(masks, pl.String()))
    told = redact_table("exchanges", rows).collect()
    assert told.to_dict(as_series=False) == {name: [mask(t) for t in texts] for name, mask in masks.items()}


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not there")
def test_paths_are_shown() -> None:
    """As tshark reads them: five thousand requests of real clients, browsers, scanners and malware."""
    lines = (CORPUS / "oracle.jsonl").read_text(encoding="utf-8").splitlines()
    paths = {uri.partition("?")[0] for line in lines for _, _, uri, _ in json.loads(line)["requests"]}
    assert len(paths) > 1_000
    assert {path for path in paths if masked_target(path) != path or identity_target(path) != path} == set()


@given(st.one_of(TARGETS, LATIN), st.integers(0, 250))
@example("202026-31T12Host:", 0)
@example("?&", 198)
def test_what_is_masked_stays_as_it_is(text: str, more: int) -> None:
    for mask in (masked_target, identity_target, masked_host, masked_method, masked_reason, partial(redact_words, "upgrade")):
        once = mask(text + more * "\xa0")
        assert mask(once) == once


def test_a_column_that_nobody_asks_for_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(texts: pl.Series) -> pl.Series:
        raise AssertionError(texts)

    monkeypatch.setattr("wiredoctor.text.redact_tables._targets", never)
    rows = pl.LazyFrame({"request_target": ["/"], "exchange": [1]} | {n: [""] for n in OTHERS})
    assert redact_table("exchanges", rows).select(pl.col("exchange").sum()).collect().item() == 1


@pytest.mark.parametrize(
    ("mask", "text", "shown"),
    [
        (masked_host, "me:hunter2@host", "(masked)@host"),
        (masked_host, "host:80", "host:80"),
        (masked_host, "host Cookie: abc", "(masked)"),
        (masked_host, "aB3xK9qL2m7Zt5Wy1:80", "(masked):80"),
        (masked_host, "*:80", "*:80"),
        (masked_method, "GET", "GET"),
        (masked_method, "get", "get"),
        (masked_method, "VERSION-CONTROL", "VERSION-CONTROL"),
        (masked_method, "hunter2", "(masked)"),
        (masked_reason, "Not Found", "Not Found"),
        (masked_reason, "I'm a teapot", "I'm a teapot"),
        (masked_reason, "Moved Temporarily", "Moved Temporarily"),
        (masked_reason, "Bad password hunter2", "Bad password (masked)"),
        (masked_reason, "OK " * 1000, "OK " * 16 + "(masked)"),
        (partial(redact_words, "upgrade"), "WebSocket", "WebSocket"),
        (partial(redact_words, "upgrade"), "h2c, hunter2 websocket,\thunter2", "h2c, (masked),\t(masked)"),
        (partial(redact_words, "content-encoding"), "gzip,br, hunter2", "gzip,br, (masked)"),
        (partial(redact_words, "content-encoding"), "", ""),
        (partial(redact_words, "x-accel-buffering"), "no", "no"),
        (partial(redact_words, "x-accel-buffering"), "gzip", "(masked)"),
        (redact.field_name, "set-cookie", "set-cookie"),
        (redact.field_name, "X-Forwarded-For", "X-Forwarded-For"),
        (redact.field_name, "Sec-WebSocket-Accept", "Sec-WebSocket-Accept"),
        (redact.field_name, "aB3xK9qL2m", ""),
        (redact.field_name, "hunter2-x", ""),
    ],
)
def test_other_texts(mask: object, text: str, shown: str) -> None:
    assert callable(mask)
    assert mask(text) == shown


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"&password=hunter2", "&xxxxxxxx=xxxxxxx"),
        (b"</body></html>\r\n", "</body></html>\r\n"),
        (b'{"id": "\xc3\xa9"}', '{"xx": "xx"}'),
        (b"0\r\n\r\n", "0\r\n\r\n"),
        (b"123456\r\n", "xxxxxx\r\n"),
        (b"HTTP/1.1 200 Ann", "HTTP/1.1 200 xxx"),
    ],
)
def test_payload(data: bytes, shown: str) -> None:
    assert redact.payload(data) == shown
    with showing_secrets(True):
        assert redact.payload(data) == data.decode("latin-1")


UNANSWERED = r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /a?token=hunter2 HTTP/1.1\r\nHost: a\r\n\r\n"
  0.021  <  .
"""


def test_what_one_run_shows_the_next_one_masks(tmp_path: Path) -> None:
    path = tmp_path / "unanswered.pcap"
    path.write_bytes(capture(UNANSWERED))
    shown, masked = (wiredoctor.analyze(path, show_secrets=secrets).not_judged for secrets in (True, False))
    assert [one.request for one in shown] == ["GET /a?token=hunter2"]
    assert [one.request for one in masked] == ["GET /a?token=(masked)"]


def test_what_is_shown_is_shown_within() -> None:
    with showing_secrets(True):
        assert (redact.target("/a?b=c"), redact.host("a@b"), redact.method("x1")) == ("/a?b=c", "a@b", "x1")
    texts = (redact.target("/a*?b=c"), redact.host("a@b"), redact.method("x1"), redact.reason("Bad idea *"))
    assert texts == ("/a*?b=(masked)", "(masked)@b", "(masked)", "Bad (masked) (masked)")


@given(TARGETS)
def test_fingerprints_are_of_what_is_masked(target: str) -> None:
    path = target.partition("?")[0]
    made = [fingerprint("rule", None, None, "10.0.0.1:80", "GET", t) for t in (target, identity_target(path))]
    assert made[0] == made[1]


@given(TARGETS)
def test_what_the_identity_masks_is_never_shown(target: str) -> None:
    shown, of_identity = masked_target(target), masked_target(identity_target(target))
    assert of_identity.replace("(masked)", "*") == shown.replace("(masked)", "*")


@pytest.mark.parametrize(
    ("mask", "text", "shown"),
    [
        (masked_target, "/a/*?b=*&c", "/a/*?b=(masked)&(masked)"),
        (masked_target, "/token/abc123/*", "/token/(masked)/*"),
        (masked_target, "*", "*"),
        (masked_target, "/token/(masked)/(masked)", "/token/(masked)/(masked)"),
        (masked_target, "http://me:pw@host/*", "http://(masked)@host/*"),
        (masked_reason, "Gateway Time-out", "Gateway Time-out"),  # of nginx: it holds no secret
        (masked_reason, "Gateway hunter2", "Gateway (masked)"),
        (masked_method, "hunter2", "(masked)"),
    ],
)
def test_masks_differ_from_what_was_sent(mask: Callable[[str], str], text: str, shown: str) -> None:
    assert mask(text) == shown
