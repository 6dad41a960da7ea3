"""The diagnosis for people: every line here was read by one."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest

from tests.report.examples import HOSTILE, capture, capture_loss, connection, exchange, finding, hostile_finding, report
from tests.support.sweeps import sweep
from wiredoctor.findings import Evidence, Finding, Report
from wiredoctor.report.groups import Group
from wiredoctor.report.overview import Row
from wiredoctor.report.terminal.terminal import Terminal
from wiredoctor.report.terminal.text import write

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def page(one: Report, width: int = 80, **options: Any) -> str:
    paper = Terminal(width, color=options.pop("color", False), unicode=options.pop("unicode", False))
    out = StringIO()
    write(one, out, paper, **options)
    return out.getvalue()


def busy(findings: list[Finding], **changes: Any) -> Report:
    return report(findings, [connection(i) for i in range(5)], [exchange(i) for i in range(7)], **changes)


ONE = """\
No request failed, but 200 ms was lost to waiting: Nagle's algorithm met a
delayed ACK (10.0.0.2:80).
1 warning. Time lost: 200 ms.
Times are UTC; the first packet is from 2026-01-31 12:00:00.000.

WARNING  Nagle's algorithm met a delayed ACK  200 ms
  nagle-delayed-ack (head-body-split), high confidence
  10.0.0.1:51234 (curl/8.5.0) -> 10.0.0.2:80
  finding 8800bc00, connection 3, exchange 2, GET /items?id=(masked),
    status 200, 2026-01-31 12:00:00.022 UTC

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
  Next: wiredoctor show trace.pcap --finding 8800bc00
        wiredoctor explain nagle-delayed-ack

What was read
  trace.pcap
    pcap, Ethernet, 1,234 packets, 1.46 MB, from 2026-01-31 12:00:00 UTC for
      12.5 s
    not analyzed: UDP, 12 packets
    not analyzed: ARP, 3 packets
  5 TCP connections, 7 HTTP exchanges

Checked
  7 exchanges on 5 connections: stalls, connection attempts, closes
  1 of 2 rules found nothing
"""


def test_one_finding_at_80_columns() -> None:
    assert page(busy([finding()])) == ONE


@pytest.mark.parametrize("one", [finding(), hostile_finding(), capture_loss()], ids=["finding", "hostile", "capture"])
def test_width_changes_nothing_but_line_breaks_and_bars(one: Finding) -> None:
    narrow, wide = (page(busy([one]), width) for width in (80, 119))  # from 120 columns on, with the time of day of each packet
    assert "".join(narrow.replace("=", "").split()) == "".join(wide.replace("=", "").split())


@pytest.mark.parametrize("width", [40, 80, 100, 160])
def test_lines_keep_to_the_width_but_for_what_is_copied(width: int) -> None:
    for line in page(busy([finding(), hostile_finding(), capture_loss()]), width).splitlines():
        copied = line.startswith(
            ("  Wireshark: ", "    https://", "  Next: wiredoctor ", "Next: wiredoctor ", "        wiredoctor ", "  wiredoctor ")
        )
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
    table = text[text.index("   rule ") :]
    order = [table.index(rule) for rule in ("missing-framing", "10.0.0.2:80", "10.0.0.9:80", "http10-downgrade")]
    assert order == sorted(order)
    assert text.startswith("no framing (10.0.0.2:80).\n1 error, 2 warnings, 1 note. Time lost: 5.1 s.\n")
    assert [text.index(title) for title in ("ERROR    no framing", "WARNING  a long wait")] == sorted(
        text.index(title) for title in ("ERROR    no framing", "WARNING  a long wait")
    )
    assert "WARNING  a short wait" not in text
    assert "\nThe other 2 problems in full: wiredoctor analyze trace.pcap --all\n" in text


def test_like_findings_are_one_paragraph() -> None:
    alike = [
        finding(delay=0.2 + i / 1000, elapsed=float(i), connection=i, client=f"10.0.0.1:{51000 + i}", message=f"wait {i}")
        for i in range(38)
    ]
    alike.append(finding(delay=0.1, elapsed=99.0, confidence="medium"))
    text = page(busy(alike))
    assert "\n1 warning, 39 occurrences. Time lost: 8.4 s.\n" in text
    assert "Nagle's algorithm met a delayed ACK  39 times, 8.4 s lost\n" in text
    assert "  10.0.0.1 (curl/8.5.0) -> 10.0.0.2:80\n" in text
    assert "  wait 37\n" in text
    assert "\n  worst of 39: finding 8800bc00, connection 37," in text
    assert "high confidence" in text


def test_several_groups_say_how_often_in_all() -> None:
    text = page(busy([finding(delay=None), finding(delay=None), finding(rule="premature-close", severity="note", delay=None)]))
    assert "\n1 warning and 1 note, 3 occurrences.\n" in text
    assert "Nagle's algorithm met a delayed ACK  2 times\n" in text
    assert "\n  first of 2: finding 8800bc00, connection 3," in text


def test_a_delay_that_the_title_says_is_not_said_again() -> None:
    assert "\nWARNING  Held back for 200 ms\n" in page(busy([finding(title="Held back for 200 ms")]))


@pytest.mark.parametrize("width", sweep(range(40, 120), range(40, 120, 7).__contains__))
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
    ],
)
def test_what_differs_is_apart(other: dict[str, Any]) -> None:
    assert page(busy([finding(), finding(**other)])).count("\nWARNING") == 2


@pytest.mark.parametrize("other", [{"client": "10.0.0.7:51234"}, {"capture": "b.pcap"}, {"request": "GET /other"}])
def test_a_problem_is_the_same_for_every_client_path_and_capture(other: dict[str, Any]) -> None:
    text = page(busy([finding(), finding(**other)]))
    assert "\n1 warning, 2 occurrences. Time lost: " in text
    assert text.count("\nWARNING") == 1


def test_more_problems_than_the_table_has_rows() -> None:
    many = [finding(server=f"10.0.1.{i}:80", delay=1 - i / 100, number=i + 1) for i in range(20)]
    text = page(busy(many))
    assert text.count("\nwarning   nagle-delayed-ack  10.0.1.") == 20
    assert text.count("\nWARNING") == 2
    more = [*many, finding(rule="tinygrams", severity="note", delay=None), finding(rule="offload", severity="note", delay=None)]
    text = page(busy(more))
    assert text.count("\nwarning   nagle-delayed-ack  10.0.1.") == 20
    assert "\n2 more problems (2 notes), by rule with occurrences: offload 1, tinygrams 1.\n" in text
    assert text.count("\nWARNING") == 1
    assert "\nThe other 21 problems in full: wiredoctor analyze trace.pcap --all\n" in text
    whole = page(busy(more), everything=True)
    assert whole.count("\nWARNING") == 20
    assert "--all" not in whole


RULES = tuple(f"a-rule-with-a-long-name-{number}" for number in range(60))


@pytest.mark.parametrize(
    ("rules", "width", "remedy", "proof"), [(1, 120, True, True), (18, 80, True, False), (48, 80, False, False)]
)
def test_many_problems_fit_a_page_because_the_worst_is_shortened(rules: int, width: int, remedy: bool, proof: bool) -> None:
    """The list of the rules of 40 other problems takes one line, or one for each three rules."""
    each = [finding(rule=RULES[i % rules], server=f"10.0.1.{i}:80", number=i + 1) for i in range(60)]
    text = page(busy(each), width)
    assert len(text.partition("\nThe other 59 problems in full:")[0].splitlines()) <= 55
    assert ("What to do" in text, "\n  Proof\n" in text) == (remedy, proof)
    assert all(rule in text for rule in RULES[:rules])


def test_errors_stand_above_the_warnings_that_caused_them() -> None:
    cause = finding(rule="idle-close", number=1)
    effect = finding(rule="keep-alive-race", severity="error", delay=None, caused_by=(cause.place[1],), number=2)
    costly = finding(rule="slow-response", delay=9.0, number=3)
    rows = [line.split() for line in page(busy([cause, effect, costly])).splitlines() if line.startswith(("error ", "warning "))]
    assert [(row[1], row[-1]) for row in rows] == [("keep-alive-race", "2"), ("slow-response", "3"), ("idle-close", "1")]
    alike = replace(effect, severity="warning")
    rows = [line.split()[1] for line in page(busy([cause, alike])).splitlines() if line.startswith("warning ")]
    assert rows == ["idle-close", "keep-alive-race"]


def test_a_row_names_the_path_and_how_many_others_and_when_it_was_first_seen() -> None:
    paths = [
        finding(request=f"GET /items/{i}", delay=i / 10, elapsed=60.0 - i, time=f"2026-01-31T12:00:{30 - i}.5Z", number=i + 1)
        for i in range(4)
    ]
    text = page(busy([*paths, finding(rule="tinygrams", delay=None, number=5)]), 120)
    assert (
        "\nseverity  rule               where                          count  time lost  first         N\n"
        "warning   nagle-delayed-ack  10.0.0.2:80 /items/3 +3 paths      4     600 ms  12:00:27.500  4\n" in text
    )
    assert "\nNext: wiredoctor show trace.pcap --finding N\n" in text


def test_rows_have_dates_if_a_capture_spans_days() -> None:
    over_midnight = [capture(first_time="2026-01-31T23:59:00Z", last_time="2026-02-01T00:10:00Z")]
    two = [finding(time="2026-01-31T23:59:30.25Z"), finding(rule="tinygrams", time="2026-02-01T00:01:02.5Z")]
    wide, narrow = (page(busy(two, captures=over_midnight), width) for width in (120, 80))
    assert "  2026-01-31 23:59:30.250  " in wide
    assert "  2026-02-01 00:01:02.500  " in wide
    assert "  01-31 23:59:30  " in narrow
    assert "  02-01 00:01:02  " in narrow


@pytest.mark.parametrize(
    ("width", "place"),
    [
        (40, "10.9.0.2:8080 /api/v1/orders +12 paths"),
        (33, "10.9.0.2:8080 /api/v1/orders +12"),
        (31, "10.9.0.2:8080 .../v1/orders +12"),
        (30, "10.9.0.2:8080 .../orders +12"),
        (28, "10.9.0.2:8080 .../orders +12"),
        (27, "10.9.0.2:8080 ...orders +12"),
        (24, "10.9.0.2:8080"),
        (12, "10.9....8080"),
    ],
)
def test_a_place_keeps_its_host_and_the_end_of_its_path(width: int, place: str) -> None:
    row = Row(Group((finding(),)), "10.9.0.2:8080", "/api/v1/orders", 12, "", "")
    assert row.shortened_place(width, "...") == place


def test_a_command_can_be_pasted_into_a_shell() -> None:
    text = page(busy([finding(capture="it's a.pcap", number=7)], captures=[capture(file="it's a.pcap")]))
    [line] = [line for line in text.splitlines() if "Next:" in line]
    assert shlex.split(line)[1:] == ["wiredoctor", "show", "it's a.pcap", "--finding", "7"]
    live = page(busy([finding(capture="live: lo")], captures=[capture(file="live: lo")]))
    assert "wiredoctor show trace" not in live
    assert "  Next: wiredoctor explain nagle-delayed-ack\n" in live


def test_nothing_points_to_packets_that_were_not_kept() -> None:
    """The report cannot be printed again, so all problems are in full."""
    rules = ("nagle-delayed-ack", "slow-response", "tinygrams", "idle-close")
    kept, live = (
        page(busy([finding(rule=rule, capture=name) for rule in rules], captures=[capture(file=name)]))
        for name in ("a.pcap", "live: lo")
    )
    assert ("Wireshark: " in kept, "in full: wiredoctor analyze a.pcap --all" in kept) == (True, True)
    assert ("Wireshark: " in live, "wiredoctor analyze" in live) == (False, False)
    assert all(f"explain {rule}\n" in live for rule in rules)
    assert "The packets were not kept: capture with -w FILE.pcapng" in " ".join(live.split())


def test_the_rest_of_many_problems_needs_the_packets() -> None:
    many = [finding(capture="live: lo", server=f"10.0.1.{i}:80") for i in range(22)]
    live = " ".join(page(busy(many, captures=[capture(file="live: lo")])).split())
    assert "The other 21 problems in full: capture with -w FILE.pcapng, then wiredoctor analyze FILE.pcapng --all" in live


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


def test_a_wide_page_has_the_time_of_day_of_each_packet() -> None:
    lines = page(busy([finding()]), 120).splitlines()
    assert "  frame 5  0.022000 s  12:00:00.022  the head of the response leaves alone, 38 bytes" in lines
    assert "  frame 6  0.222000 s  12:00:00.222  the client acknowledges it, 200 ms late" in lines
    assert max(map(len, lines)) <= 120


def test_unicode_changes_only_the_drawing() -> None:
    text = page(busy([finding()]), unicode=True)
    assert text.replace("━", "=").replace("│", "|") == ONE


def test_nothing_found() -> None:
    text = page(busy([]))
    assert text.startswith(
        "Nothing wrong was found.\nTimes are UTC; the first packet is from 2026-01-31 12:00:00.000.\n\nWhat was read\n"
    )
    assert text.endswith(
        """

Checked and healthy
  7 exchanges on 5 connections: stalls, connection attempts, closes
  2 of 2 rules found nothing:
    stalls: nagle-delayed-ack
    lifetime: premature-close
"""
    )


def test_rules_that_found_nothing_are_named_where_all_is_asked_for() -> None:
    assert page(busy([finding()]), everything=True).endswith(
        """

Checked
  7 exchanges on 5 connections: stalls, connection attempts, closes
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
    assert "    not analyzed: reason 7, 70 packets\n" in text
    assert "    not analyzed: 2 other reasons, 30 packets\n" in text
    assert "    captured twice and left out: 17 packets\n" in text
    assert "    damaged: ends inside a packet at byte 812\n" in text
    assert "  Limit reached: spool full after 3 GB\n" in text


def test_an_incomplete_report_begins_with_the_reasons() -> None:
    four = [f"Only the first {n} kB of {n}.gz were read." for n in range(1, 5)]
    text = page(busy([finding()], incomplete=four[:1], secrets=True))
    first, _, rest = text.partition("\n")
    assert first.startswith("This report contains secrets")
    assert rest.startswith("Only the first 1 kB of 1.gz were read. 200 ms was lost to waiting: ")
    healthy = report([], [connection(1)], [exchange(1)])
    assert page(replace(healthy, incomplete=four[:3]), quiet=True) == "".join(f"{line}\n" for line in four[:3])
    assert page(report([], incomplete=four), 160).startswith(
        "Only the first 1 kB of 1.gz were read. 3 more inputs could not be read completely. Nothing to diagnose"
    )
    rest = "".join(f"{line}\n" for line in four[1:3])
    assert f"\n{rest}1 more input could not be read completely.\n" in page(report([], incomplete=four), 160)


def test_encapsulations_are_named() -> None:
    text = page(report([], captures=[capture(encapsulations={"GRE": 1, "VXLAN": 1_230})]))
    assert "    TCP inside VXLAN (1,230 packets), GRE (1 packet)\n" in text
    assert "inside" not in page(report([], captures=[capture()]))


def test_several_captures_are_named() -> None:
    files = [capture(file=f"{name}.pcap", damage="cut" if name == "d" else None) for name in "abcd"]
    text = page(busy([finding(capture="b.pcap")], captures=files[:2]))
    assert "10.0.0.1:51234 (curl/8.5.0) -> 10.0.0.2:80, b.pcap\n" in text
    assert "\n  Next: wiredoctor show b.pcap --finding 8800bc00\n" in text
    assert "\n  a.pcap\n    pcap," in text
    many = page(busy([finding(capture="b.pcap")], captures=files), 100)
    assert "\nRead: 4 captures (1 damaged), 4,936 packets, 5 TCP connections, 7 HTTP exchanges\n" in many
    assert "\n  a.pcap" not in many
    whole = page(busy([finding(capture="b.pcap")], captures=files), everything=True)
    assert "\n  a.pcap\n    pcap," in whole


def test_quiet_is_the_findings_only() -> None:
    assert "What was read" not in page(busy([finding()]), quiet=True)
    assert page(busy([]), quiet=True) == ""


def test_quiet_says_what_no_finding_explains() -> None:
    """Otherwise it would be silent about a failed request."""
    failed = report([], [connection(1)], [exchange(1, response_status=503)])
    assert page(failed, quiet=True) == "No known fault, but the only response has status 503.\n"
    empty = report([], captures=[capture(packets=0, first_time=None, last_time=None)])
    assert page(empty, quiet=True) == "Nothing to diagnose: there are no packets.\n"


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
