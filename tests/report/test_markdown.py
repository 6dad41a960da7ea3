"""Markdown for a comment on a pull request: the same report, and nothing in it gives orders."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.report.examples import HOSTILE, capture, capture_loss, connection, exchange, finding, hostile_finding, report
from tests.report.test_text import busy
from wiredoctor.findings import Evidence, LeftOut, Report
from wiredoctor.report.terminal.markdown import MAX_BYTES, block, code, escape_markdown, write
from wiredoctor.report.words import clean


def page(one: Report, **options: Any) -> str:
    out = BytesIO()
    write(one, out, **options)
    return out.getvalue().decode()


ONE = """\
## wiredoctor: No request failed, but 200 ms was lost to waiting: Nagle's algorithm met a delayed ACK (10.0.0.2:80).

1 warning. Time lost: 200 ms.

Times are UTC; the first packet is from 2026-01-31 12:00:00.000.

### WARNING: Nagle's algorithm met a delayed ACK (200 ms)

nagle-delayed-ack (head-body-split), high confidence  
`10.0.0.1:51234 (curl/8.5.0) -> 10.0.0.2:80`  
`finding 8800bc00, connection 3, exchange 2, GET /items?id=(masked), status 200, 2026-01-31 12:00:00.022 UTC`

The server sent the head of its response alone (38 bytes), and the body (5 bytes) had to wait for the client's delayed ACK: \
200 ms for nothing. The timer is that of older Windows.

<details><summary>Proof</summary>

```text
frame 5  0.022000 s  the head of the response leaves alone, 38 bytes
                     │━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 200 ms
frame 6  0.222000 s  the client acknowledges it, 200 ms late
                     │━━ 10.1 ms
frame 7  0.232123 s  the body follows at once, 5 bytes
```

</details>

**What to do on the server:** Write head and body in one call (writev, a buffered writer that is flushed once, MSG\\_MORE), or \
set TCP\\_NODELAY on the server's sockets. In nginx: tcp\\_nodelay on (the default) and tcp\\_nopush with sendfile.

Wireshark: `tcp.stream == 3 && frame.number in {5, 6, 7}`

See: [RFC 1122 section 4.2.3.4](<https://www.rfc-editor.org/rfc/rfc1122#section-4.2.3.4>)

Next: `wiredoctor show trace.pcap --finding 8800bc00`, `wiredoctor explain nagle-delayed-ack`

<details><summary>Input and coverage</summary>

- `trace.pcap`: pcap, Ethernet, 1,234 packets, 1.46 MB, from 2026-01-31 12:00:00 UTC for 12.5 s
  - not analyzed: UDP, 12 packets
  - not analyzed: ARP, 3 packets
- 5 TCP connections, 7 HTTP exchanges
- Checked: 7 exchanges on 5 connections: stalls, connection attempts, closes
- 1 of 2 rules found nothing

</details>
"""  # noqa: W291 - two spaces end a line of Markdown


def test_one_finding() -> None:
    assert page(busy([finding()])) == ONE


def test_like_findings_are_one_section() -> None:
    text = page(busy([finding(elapsed=float(i), connection=i, delay=0.2 + i / 100) for i in range(3)]))
    assert "### WARNING: Nagle's algorithm met a delayed ACK (3 times, 630 ms lost)\n" in text
    assert "`worst of 3: finding 8800bc00, connection 2, exchange 2" in text


def test_a_table_of_problems_and_the_worst_two_in_full_and_no_more_than_a_comment_may_have() -> None:
    many = [finding(server=f"10.0.1.{i}:80", delay=1 - i / 100) for i in range(13)]
    text = page(busy(many))
    assert text.count("\n### ") == 2
    assert text.count("\n| warning | nagle-delayed-ack | ") == 13
    assert "\nThe other 11 problems in full: `wiredoctor analyze trace.pcap --all`\n" in text
    assert page(busy(many), everything=True).count("\n### ") == 13
    huge = page(busy([finding(server=f"10.0.1.{i}:80", message="word " * 4000) for i in range(9)]), everything=True)
    assert len(huge.encode()) <= MAX_BYTES
    assert huge.count("\n### ") == 2
    assert "\nThe other 7 problems in full: " in huge
    assert huge.endswith("</details>\n")


def test_without_the_packets_all_problems_that_fit_are_in_full() -> None:
    live = [capture(file="live: lo")]
    few = page(busy([finding(capture="live: lo", server=f"10.0.1.{i}:80") for i in range(5)], captures=live))
    assert (few.count("\n### "), "in full" in few, "Wireshark" in few) == (5, False, False)
    long = [finding(capture="live: lo", server=f"10.0.1.{i}:80", message="word " * 4000) for i in range(9)]
    huge = page(busy(long, captures=live))
    assert len(huge.encode()) <= MAX_BYTES
    rest = "The other 7 problems in full: capture with -w FILE.pcapng, then `wiredoctor analyze FILE.pcapng --all`"
    assert f"\n{rest}\n" in huge


def test_what_the_text_says_beside_the_findings() -> None:
    one = capture(duplicates=7, damage="ends inside packet 8")
    text = page(
        busy([], captures=[one], limits=["spool full"], left_out=[LeftOut("baseline", "a|b.json", 2, ("tinygrams",))]),
        shown="port 80",
    )
    for line in (
        "## wiredoctor: No new findings (2 known) (port 80).",
        "  - captured twice and left out: 7 packets",
        "  - damaged: ends inside packet 8",
        "- Limit reached: spool full",
        "- 5 TCP connections, 7 HTTP exchanges shown (only port 80; all was read)",
        "- Left out: 2 occurrences (tinygrams) already in the baseline a&#124;b.json",
    ):
        assert f"{line}\n" in text


def test_an_incomplete_report_begins_with_the_reasons() -> None:
    text = page(busy([finding()], incomplete=["Only the first 2 GB of a*b.gz were read."], secrets=True))
    assert text.startswith("## wiredoctor: Only the first 2 GB of a\\*b.gz were read. 200 ms was lost to waiting: ")
    healthy = report([], [connection(1)], [exchange(1)])
    assert page(replace(healthy, incomplete=["Cut off."]), quiet=True) == "**Cut off.**\n"
    many = page(busy([finding()], incomplete=["Cut off."] * 500))
    assert many.startswith("## wiredoctor: Cut off. 499 more inputs could not be read completely. 200 ms was lost to waiting: ")
    assert "\n**497 more inputs could not be read completely.**\n" in many


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("plain words, 44.1 ms.", "plain words, 44.1 ms."),
        ("a | b", "a &#124; b"),
        ("`x`", "&#96;x&#96;"),
        ("<script>&amp;", "&#60;script&#62;&#38;amp;"),
        ("*a* _b_ [c](d) ~e~ {f} \\g", r"\*a\* \_b\_ \[c\](d) \~e\~ \{f\} \\g"),
        ("$x$", "&#36;x&#36;"),
        ("ask @torvalds", "ask @&#8203;torvalds"),
        ("mail a@b.example", "mail a@&#8203;b.example"),
        ("see #12 and GH-7", "see #&#8203;12 and GH-&#8203;7"),
        ("http://evil.example www.evil.example", "http://&#8203;evil.example www.&#8203;evil.example"),
        ("# no heading", r"\# no heading"),
        ("1. no list", r"1\. no list"),
        ("- no list", r"\- no list"),
        ("    no code", "no code"),
    ],
)
def test_escaped(text: str, markdown: str) -> None:
    assert escape_markdown(text) == markdown


def test_code_holds_backticks() -> None:
    assert code("a") == "`a`"
    assert code("a``b") == "```a``b```"
    assert code("`") == "`` ` ``"
    assert block(["```", "x"]) == ["````text", "```", "x", "````"]


@given(st.text())
def test_whatever_the_text_nothing_gets_out(text: str) -> None:
    prose, span = escape_markdown(text), code(text)
    assert not set(prose) & set("<>|`$\n\r")
    assert not re.search(r"(?<!\\)[*_\[\]]", re.sub(r"\\\\", "", prose))
    assert not re.search(r"@[A-Za-z0-9_-]", prose)
    assert "\n" not in span
    fence = re.match(r"`+", span)
    assert fence
    assert span.endswith(fence[0])
    inside = span[len(fence[0]) : -len(fence[0])]
    assert fence[0] not in re.findall(r"`+", inside)


@given(st.text() | st.text("\\`*_{}[]()<>#+-=.!|~&$@:/ 1aw\t", max_size=30))
def test_whatever_the_text_it_is_shown_as_it_is(text: str) -> None:
    shown = html.unescape(MarkdownIt("commonmark").enable("table").render(escape_markdown(text))).replace("\u200b", "")
    assert shown == (f"<p>{clean(text).strip()}</p>\n" if clean(text).strip() else "")


def test_a_hostile_finding() -> None:
    nasty = "</details>\n```\n# owned @everyone | <img src=x onerror=alert(1)> [x](http://evil)" + HOSTILE
    one = finding(
        title=nasty, message=nasty, remedy=nasty, request=nasty, client=nasty, server=nasty, display_filter=nasty,
        server_software=nasty, evidence=(Evidence(1, 0.0, nasty),),
    )  # fmt: skip
    text = page(busy([one, hostile_finding(), capture_loss()], captures=[capture(file=nasty)]))
    prose = re.sub(r"^(`{3,})text\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", prose)
    assert "@everyone" not in prose
    assert "<img" not in prose
    assert prose.count("</details>") == prose.count("<details>")
    assert not [line for line in prose.splitlines() if line.startswith("# ")]


def test_quiet_is_the_findings_only() -> None:
    text = page(busy([finding()]), quiet=True)
    assert "What was read" not in text
    assert "**What to do on the server:**" in text
    assert page(busy([]), quiet=True) == ""


def test_a_report_without_connections() -> None:
    assert page(report()).startswith(
        "## wiredoctor: Nothing to diagnose: no TCP connection was seen in 1,234 packets: UDP (12), ARP (3).\n"
    )


def test_hundreds_of_captures_leave_room_for_what_was_found() -> None:
    files = [capture(file=f"captures/{'x' * 300}-{n}.pcap") for n in range(600)]
    text = page(report([finding()], captures=files, limits=["too many heads"] * 600))
    assert len(text.encode()) < MAX_BYTES
    assert "### WARNING" in text
    assert "- and 560 more captures" in text
