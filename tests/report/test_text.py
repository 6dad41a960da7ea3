"""The diagnosis for people: every line here was read by one."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest

from tests.report.examples import HOSTILE, capture, capture_loss, connection, exchange, finding, hostile_finding, report
from wiredoctor.findings import Evidence, Finding, Report
from wiredoctor.report.terminal.terminal import Paper
from wiredoctor.report.terminal.text import write

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def page(one: Report, width: int = 80, **options: Any) -> str:
    paper = Paper(width, color=options.pop("color", False), unicode=options.pop("unicode", False))
    out = StringIO()
    write(one, out, paper, **options)
    return out.getvalue()


def busy(findings: list[Finding], **changes: Any) -> Report:
    return report(findings, [connection(i) for i in range(5)], [exchange(i) for i in range(7)], **changes)


ONE = """\
1 warning. Time lost by waiting: 200 ms.

WARNING  Nagle's algorithm met a delayed ACK  200 ms
  nagle-delayed-ack (head-body-split), high confidence
  10.0.0.1:51234 (curl/8.5.0) -> 10.0.0.2:80
  connection 3, exchange 2, GET /items?id=*, status 200

  The server sent the head of its response alone (38 bytes), and the body
  (5 bytes) had to wait for the client's delayed ACK: 200 ms for nothing. The
  timer is that of older Windows.

  Proof
  frame 5  0.022000 s  the head of the response leaves alone, 38 bytes
                       |======================================== 200 ms
  frame 6  0.222000 s  the client acknowledges it, 200 ms late
                       |== 10.1 ms
  frame 7  0.232123 s  the body follows at once, 5 bytes

  What to do on the server: Write head and body in one call (writev, a buffered
    writer that is flushed once, MSG_MORE), or set TCP_NODELAY on the server's
    sockets. In nginx: tcp_nodelay on (the default) and tcp_nopush with
    sendfile.
  Wireshark: tcp.stream == 3 && frame.number in {5, 6, 7}
  See: RFC 1122 section 4.2.3.4
    https://www.rfc-editor.org/rfc/rfc1122#section-4.2.3.4

What was read
  trace.pcap
    pcap, Ethernet, 1,234 packets, 1.46 MB, from 2026-01-31 12:00:00 UTC for
      12.5 s
    not analysed: UDP, 12 packets
    not analysed: ARP, 3 packets
  5 TCP connections, 7 HTTP exchanges

Checked
  7 exchanges on 5 connections: stalls, connects, closes
  1 of 2 rules found nothing
"""


def test_one_finding_at_80_columns() -> None:
    assert page(busy([finding()])) == ONE


def test_width_changes_nothing_but_line_breaks_and_bars() -> None:
    narrow, wide = (page(busy([finding(), hostile_finding(), capture_loss()]), width) for width in (80, 160))
    assert "".join(narrow.replace("=", "").split()) == "".join(wide.replace("=", "").split())


@pytest.mark.parametrize("width", [40, 80, 100, 160])
def test_lines_keep_to_the_width_but_for_what_is_copied(width: int) -> None:
    for line in page(busy([finding(), hostile_finding(), capture_loss()]), width).splitlines():
        copied = line.startswith(("  Wireshark: ", "    https://"))
        drawn = "|=" in line
        assert len(line) <= width or copied or drawn, line
        assert line == line.rstrip()


def test_the_worst_comes_first() -> None:
    text = page(
        busy(
            [
                finding(rule="http10-downgrade", severity="note", title="an old proxy", delay=None),
                finding(title="a short wait", delay=0.1, server="10.0.0.9:80"),
                finding(title="a long wait", delay=5.0),
                finding(rule="missing-framing", severity="error", title="no framing", delay=None),
            ]
        )
    )
    order = [text.index(title) for title in ("no framing", "a long wait", "a short wait", "an old proxy")]
    assert order == sorted(order)
    assert text.startswith("1 error, 2 warnings and 1 note. Time lost by waiting: 5.1 s.")


def test_like_findings_are_one_paragraph() -> None:
    alike = [
        finding(delay=0.2 + i / 1000, elapsed=float(i), connection=i, client=f"10.0.0.1:{51000 + i}", message=f"wait {i}")
        for i in range(38)
    ]
    alike.append(finding(delay=0.1, elapsed=99.0, confidence="medium"))
    text = page(busy(alike))
    assert text.startswith("1 warning, found 39 times. Time lost by waiting: 8.4 s.\n")
    assert "Nagle's algorithm met a delayed ACK  x 39, 8.4 s in all\n" in text
    assert "  10.0.0.1 (curl/8.5.0) -> 10.0.0.2:80\n" in text
    assert "  wait 37\n" in text
    assert "\n  worst of 39: connection 37," in text
    assert "high confidence" in text


def test_several_groups_say_how_often_in_all() -> None:
    text = page(busy([finding(delay=None), finding(delay=None), finding(rule="premature-close", severity="note", delay=None)]))
    assert text.startswith("1 warning and 1 note, found 3 times in all.\n")
    assert "Nagle's algorithm met a delayed ACK  x 2\n" in text
    assert "\n  first of 2: connection 3," in text


def test_a_delay_that_the_title_says_is_not_said_again() -> None:
    assert "\nWARNING  Held back for 200 ms\n" in page(busy([finding(title="Held back for 200 ms")]))


@pytest.mark.parametrize("width", range(40, 120))
def test_a_number_stays_with_its_unit(width: int) -> None:
    text = page(
        busy([finding(message="word " * 30 + "44.1 ms, 7 bytes (9 kB, 3 s) 100 % " * 8, remedy="after 20 s " * 9)]), width
    )
    assert re.search(r"[0-9]\n *(ms|s|kB|MB|bytes|packets|UTC|%)(?!\w)", text) is None
    assert "\ue000" not in text


def test_prose_is_no_wider_than_one_can_read() -> None:
    text = page(busy([finding(message="word " * 100, delay=None, evidence=(Evidence(5, 0.0, "note " * 50),))]), 300)
    prose = [line for line in text.splitlines() if "word word" in line or "note note" in line]
    assert 100 < max(map(len, prose)) <= 110


@pytest.mark.parametrize(
    "other",
    [
        {"rule": "delayed-ack-stall"},
        {"kind": "tail"},
        {"side": "client"},
        {"server": "10.0.0.3:80"},
        {"client": "10.0.0.7:51234"},
        {"capture": "b.pcap"},
    ],
)
def test_what_differs_is_apart(other: dict[str, Any]) -> None:
    assert page(busy([finding(), finding(**other)])).count("\nWARNING") == 2


def test_more_than_ten_groups() -> None:
    many = [finding(server=f"10.0.1.{i}:80", delay=1 - i / 100) for i in range(13)]
    text = page(busy(many))
    assert text.count("\nWARNING") == 10
    assert "\n3 more (3 warnings): nagle-delayed-ack. --all shows them.\n" in text
    whole = page(busy(many), everything=True)
    assert whole.count("\nWARNING") == 13
    assert "--all" not in whole


def test_long_proofs_are_cut() -> None:
    long = finding(evidence=tuple(Evidence(i, i / 10, f"note {i}") for i in range(1, 31)))
    assert "and 19 more frames (--all shows them)" in page(busy([long]))
    assert "note 30" in page(busy([long]), everything=True)


def test_a_microsecond_does_not_look_like_a_wait() -> None:
    quick = finding(evidence=(Evidence(1, 0.0, "x"), Evidence(2, 0.000002, "x")), delay=None)
    assert "| 2 us\n" in page(busy([quick]))


def test_no_bars_between_frames_of_different_connections() -> None:
    several = finding(evidence=(Evidence(1, 0.0, "x"), Evidence(2, 5.0, "x")), connection=None, exchange=None)
    assert "|" not in page(busy([several]))


def test_software_is_named_by_its_product() -> None:
    browser = "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0"
    text = page(busy([finding(client_software=browser, server_software="Apache/2.4.7 (Ubuntu)")]))
    assert "\n  10.0.0.1:51234 (Firefox/115.0) -> 10.0.0.2:80 (Apache/2.4.7)\n" in text


def test_bars_are_to_scale() -> None:
    steps = finding(evidence=tuple(Evidence(i + 1, t, "x") for i, t in enumerate([0.0, 0.4, 0.5, 0.5, 0.3])))
    bars = [line.strip() for line in page(busy([steps])).splitlines() if line.strip().startswith("|")]
    assert bars == ["|" + "=" * 40 + " 400 ms", "|" + "=" * 10 + " 100 ms"]


def test_hostile_text_gives_no_orders() -> None:
    for color in (False, True):
        text = page(busy([hostile_finding()], captures=[capture(file="\x1b]0;x\x07[red]é\n.pcap")]), color=color)
        plain = ESCAPE.sub("", text)
        assert all(c.isprintable() or c == "\n" for c in plain)
        assert "[blink]the response[/blink] ends" in plain
        assert r"\x1b]0;x\x07[red]é .pcap" in plain
        assert r"\x1b[2J" in plain
        assert (plain == text) != color


def test_a_request_is_shortened_where_the_finding_is_named() -> None:
    text = page(busy([finding(request="GET /" + "a" * 500, message="m")]), 160)
    assert "a" * 101 not in text


def test_colour_changes_nothing_else() -> None:
    findings = [finding(), capture_loss()]
    assert ESCAPE.sub("", page(busy(findings), color=True)) == page(busy(findings))


def test_unicode_changes_only_the_drawing() -> None:
    text = page(busy([finding()]), unicode=True)
    assert text.replace("━", "=").replace("│", "|") == ONE


def test_nothing_found() -> None:
    text = page(busy([]))
    assert text.startswith("Nothing wrong was found.\n\nWhat was read\n")
    assert text.endswith(
        """

Checked and healthy
  7 exchanges on 5 connections: stalls, connects, closes
  2 of 2 rules found nothing:
    stalls: nagle-delayed-ack
    lifetime: premature-close
"""
    )


def test_rules_that_found_nothing_are_named_where_all_is_asked_for() -> None:
    assert page(busy([finding()]), everything=True).endswith(
        """

Checked
  7 exchanges on 5 connections: stalls, connects, closes
  1 of 2 rules found nothing:
    lifetime: premature-close
"""
    )


def test_nothing_to_look_at() -> None:
    assert page(report()).startswith(
        "Nothing to diagnose: no TCP connection was seen in 1,234 packets: UDP (12), ARP\n(3).\n\nWhat was read\n"
    )
    quiet = page(report([], [connection(1)]))
    assert quiet.startswith("Nothing wrong was found, but no HTTP exchange was seen.\n")


def test_what_could_not_be_read() -> None:
    reasons = {f"reason {i}": 10 * i for i in range(1, 8)}
    one = capture(not_analysed=reasons, duplicates=17, damage="ends inside a packet at byte 812")
    text = page(report([], captures=[one], limits=["spool full after 3 GB"]))
    assert "    not analysed: reason 7, 70 packets\n" in text
    assert "    not analysed: 2 other reasons, 30 packets\n" in text
    assert "    captured twice and left out: 17 packets\n" in text
    assert "    damaged: ends inside a packet at byte 812\n" in text
    assert "  Limit reached: spool full after 3 GB\n" in text


def test_an_incomplete_report_begins_with_the_reasons() -> None:
    four = [f"Only the first {n} kB of {n}.gz were read." for n in range(1, 5)]
    text = page(busy([finding()], incomplete=four[:1], secrets=True))
    assert text.startswith("Only the first 1 kB of 1.gz were read.\n\nThis report holds secrets")
    assert page(report([], incomplete=four[:3]), quiet=True) == "".join(f"{line}\n\n" for line in four[:3])
    assert page(report([], incomplete=four)).startswith(
        "".join(f"{line}\n\n" for line in four[:3]) + "1 more input could not be read completely.\n\nNothing to diagnose"
    )


def test_encapsulations_are_named() -> None:
    text = page(report([], captures=[capture(encapsulations={"GRE": 1, "VXLAN": 1_230})]))
    assert "    TCP inside VXLAN (1,230 packets), GRE (1 packet)\n" in text
    assert "inside" not in page(report([], captures=[capture()]))


def test_several_captures_are_named() -> None:
    text = page(busy([finding(capture="b.pcap")], captures=[capture(file="a.pcap"), capture(file="b.pcap")]))
    assert "10.0.0.1:51234 (curl/8.5.0) -> 10.0.0.2:80, b.pcap\n" in text
    assert "\n  a.pcap\n    pcap," in text


def test_quiet_is_the_findings_only() -> None:
    assert "What was read" not in page(busy([finding()]), quiet=True)
    assert page(busy([]), quiet=True) == ""


def test_a_narrowed_report_says_so() -> None:
    assert "5 TCP connections, 7 HTTP exchanges shown (only host 10.0.0.1; all was read)" in page(
        busy([finding()]), shown="host 10.0.0.1"
    )
    assert page(busy([]), shown="port 81").startswith("Nothing wrong was found (port 81).")


def test_a_capture_of_no_time_and_of_absurd_years() -> None:
    assert "pcap, Ethernet, 0 packets" in page(report(captures=[capture(packets=0, first_time=None, last_time=None)]))
    absurd = capture(first_time="0001-01-01T00:00:00.000000000Z", last_time="9999-12-31T23:59:59.999999999Z")
    assert "from 0001-01-01 00:00:00 UTC" in page(report(captures=[absurd]), 120)


def test_every_string_of_a_finding_may_be_hostile() -> None:
    nasty = finding(
        title=HOSTILE, message=HOSTILE, remedy=HOSTILE, display_filter=HOSTILE, request=HOSTILE, client=HOSTILE, server=HOSTILE
    )
    plain = page(busy([nasty]))
    assert all(c.isprintable() or c == "\n" for c in plain)
