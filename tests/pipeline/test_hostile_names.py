"""Bytes of packets and names of files on their whole way to the reports: shown as they are in ASCII, and as `\\xNN` beyond."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ladders import to_pcap
from tests.pipeline.test_secrets import outputs, spoken
from tests.support.analysis import analyze_bytes
from tests.support.sweeps import SLOW
from wiredoctor.rule_engine.rule_module import Plugin

ORDERS = [
    *(
        "\x1b[31m",
        "\x1b]0;x\x07",
        "\x9b31m",
        "\x00",
        "\x08",
        "\x7f",
        "\x85",
        "\xad",
        "\x0b",
        "\t",
        "\xe2\x80\xae",
        "\xff\xfe",
        "\xc2\x9b",
    ),
    *("[bold]", "[/]", "<script>", "```", "| a |", "=1+1", "@x", "${x}", "{connection}", "{}", "%s", "%n", "a" * 40),
]
NAME = st.lists(st.sampled_from(ORDERS), min_size=1, max_size=4).map("".join)


@SLOW
@given(NAME, NAME, NAME, st.booleans())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_packets(tmp_path: Path, one: str, two: str, three: str, secrets: bool) -> None:
    path = tmp_path / "names.pcap"
    # an x at its end: with blanks inside and at the end it is the request line of no HTTP
    asked = f"GET /{one}?{two}={three}x HTTP/1.1\r\nHost: {two}\r\nUser-Agent: {three}\r\nX{one} : {two}"
    answered = f"HTTP/1.1 200 {one}\r\nServer: {two}\r\nContent-Length: 1\r\n\r\nx{three}{one}"
    report = analyze_bytes(path, to_pcap(spoken(asked, answered)), show_secrets=secrets, keep=True)
    assert {"excess-body", "malformed-head"} & {f.rule for f in report.findings}
    for name, output in outputs(report).items():
        assert (name, [sign for sign in output if sign != "\n" and not sign.isprintable()]) == (name, [])


@SLOW
@pytest.mark.parametrize("name", [b"a\xff\xfe.pcap", b"a\n\x1b[31m<b>\xc2\x9b\xe2\x80\xae.pcap", "[bold]é`|=1.pcap".encode()])
def test_of_files(tmp_path: Path, name: bytes) -> None:
    report = analyze_bytes(tmp_path / os.fsdecode(name), to_pcap(spoken("GET / HTTP/1.1", "")), keep=True)
    made = outputs(report)
    assert len(report.exchanges) == 1
    for way in ("json", "exchanges jsonl", "text 80", "markdown"):
        assert [sign for sign in made[way] if sign != "\n" and not sign.isprintable()] == []
    assert r"\\xff" in made["json"] or b"\xff" not in name


def test_what_a_rule_of_others_says_when_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "wiredoctor"):
        Plugin("package 1.0").fail("a-rule", ValueError("\x1b[31mx\r\x9b\u202e\nsecond line"))
    [record] = caplog.records
    assert record.getMessage() == r"rule a-rule of package 1.0 is left out: ValueError: \x1b[31mx \x9b\u202e"
