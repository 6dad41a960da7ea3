"""Names that give orders to terminals, browsers or spreadsheets, wherever a report may hold one: none is obeyed."""

from __future__ import annotations

import csv as standard_csv
import io
import json as standard_json
import re
from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Any
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.report.examples import MS, capture, connection, exchange, finding, report
from tests.report.pages import Page, page_data, page_of
from tests.support.sweeps import examples
from wiredoctor.findings import Cause, Checked, Evidence, LeftOut, Reference, Report
from wiredoctor.report.data import csv, csv_rows, har, json, junit, sarif
from wiredoctor.report.data import table_folder as exported
from wiredoctor.report.ladder.build import Ladder, Step, Wait
from wiredoctor.report.packets import pcapng
from wiredoctor.report.packets.heads import Head
from wiredoctor.report.terminal import connections, exchanges, markdown, show_text, text
from wiredoctor.report.terminal.show import Related, ShownPackets, ShowRequest
from wiredoctor.report.terminal.terminal import Terminal, TerminalWriter
from wiredoctor.report.words import clean
from wiredoctor.text.time_of_day import Clock

ORDERS = [
    *("\x1b[31m", "\x1b]0;owned\x07", "\x1b[2J", "\x9b31m", "\x90q\x9c", "\x8d", "\x07", "\x08" * 9, "\x7f", "\x00"),
    *("\r\n", "\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\t"),
    *("\u202e", "\u2066", "\u200f", "\u061c", "\u200b", "\u200d", "\ufeff", "\u00ad", "\U000e0041", "\ue000", "\udcff", "\ud800"),
    *(
        "[bold red]",
        "[/]",
        "[link=http://evil]x[/link]",
        ":smile:",
        "\\[",
        "</details>",
        "<script>alert(1)</script>",
        "<!--",
        "-->",
    ),
    *("<img src=x onerror=alert(1)>", "<a href=//evil>", "&lt;", "&#27;", "![x](http://evil)", "[x](javascript:alert(1))"),
    *(
        "[x]: http://evil",
        "http://evil.example",
        "www.evil.example",
        "<http://evil>",
        "me@evil.example",
        "@everyone",
        "#1",
        "GH-1",
    ),
    *(
        "```\n",
        "~~~",
        "`",
        "``",
        "# x",
        "- x",
        "1. x",
        "> x",
        "---",
        "===",
        "| a | b |\n|---|---|",
        "**x**",
        "~~x~~",
        "$x$",
        "*",
        "_",
    ),
    *("=1+1", "+1", "-1", "@SUM(1)", "=cmd|' /C calc'!A0", "\u4f60\u597d", "\u0301" * 8, "é", "x" * 300, " "),
]
HOSTILE = st.lists(st.one_of(st.sampled_from(ORDERS), st.sampled_from(ORDERS), st.text(max_size=5)), min_size=1, max_size=6).map(
    "".join
)
_SGR = re.compile(r"\x1b\[[0-9;]*m")


def encodable(text: str) -> str:
    """Names of files, and what a table holds, have an encoding by the time that they get here."""
    return text.encode("utf-8", "replace").decode()


@st.composite
def hostile_reports(draw: st.DrawFn) -> Report:
    """Every text that a report has is hostile."""

    some = draw(st.lists(HOSTILE, min_size=5, max_size=5))
    random = Random(draw(st.integers(0, 1000)))

    def evil() -> str:
        return random.choice(some)

    file = encodable(evil())
    one = finding(
        **{name: evil() for name in ("family", "kind", "title", "message", "client", "server", "request", "remedy")},
        **{name: evil() for name in ("display_filter", "client_software", "server_software")},
        rule=encodable(evil()),
        capture=file,
        evidence=(Evidence(1, 0.1, evil()), Evidence(2, 0.3, evil(), encodable(evil()), 7)),
        references=(Reference(evil(), evil()),),
        caused_by=(Cause(evil(), 1),),
    )
    files = [
        capture(file=name, format=evil(), link_types=[evil()], not_analysed={evil(): 1}, damage=evil()) for name in (file, "b")
    ]
    texts = {"request_method": evil(), "request_target": evil(), "request_host": evil(), "response_reason": evil()}
    row = {name: encodable(text) for name, text in texts.items()}
    return replace(
        report([one], [connection(1, capture=file)], [exchange(1, capture=file, **row)], files),
        limits=[evil()],
        incomplete=[f"Only the first {evil()} were read."],
        checked={evil(): Checked(evil(), "segments")},
        left_out=[LeftOut("ignore", evil(), 1, (evil(),)), LeftOut("baseline", evil(), 1, (evil(),))],
        secrets=draw(st.booleans()),
    )


def safe(shown: str) -> bool:
    """Whether there is nothing in it that moves the cursor, turns the direction, or cannot be seen."""
    return all(sign == "\n" or sign.isprintable() for sign in shown)


@given(hostile_reports(), st.sampled_from([80, 160]))
@settings(max_examples=examples(30), deadline=None)
def test_a_terminal_obeys_our_colours_only(one: Report, width: int) -> None:
    for module, options in ((text, {"everything": True}), (text, {}), (exchanges, {}), (connections, {})):
        made: list[str] = []
        for color in (True, False):
            out = io.StringIO()
            module.write(one, out, Terminal(width=width, color=color, unicode=True), **options)
            made.append(out.getvalue())
        assert safe(made[1])
        assert safe(_SGR.sub("", made[0]))
        assert _SGR.sub("", made[0]) == made[1]


@given(hostile_reports(), st.sampled_from([80, 160]))
@settings(max_examples=examples(30), deadline=None)
def test_no_line_and_no_column_is_pushed_apart(one: Report, width: int) -> None:
    out = io.StringIO()
    exchanges.write(one, out, Terminal(width=width))
    # the capture with an exchange has its name above the headings
    lines = out.getvalue().splitlines()
    [row] = [line for line in lines if re.match(r"[EWN]? +12:00:00\.100 ", line)]
    assert all(len(line) <= width for line in lines[one.secrets :])
    heads = lines[lines.index(row) - 1]
    assert row[heads.index(" status ") + 1 :].startswith("200 ")
    plain = io.StringIO()
    text.write(one, plain, Terminal(width=width))
    # text begins nowhere but where we put it
    assert not [line for line in plain.getvalue().splitlines() if line.startswith(("ERROR ", "NOTE ", "# "))]


@given(hostile_reports(), st.sampled_from([80, 160]))
@settings(max_examples=examples(15), deadline=None)
def test_a_ladder_obeys_nobody(one: Report, width: int) -> None:
    f = one.findings[0]
    notes = tuple(e.note for e in f.evidence)
    step = Step(1, 1, 0.1, True, "ACK", 5, f.title, notes, (f.message,), Wait(None, 3), evidence=True)
    ladder = Ladder(f.capture, f.client or "", f.server or "", (1,), (step, step._replace(before=Wait(0.2, 0, True))), 1)
    asked = ShowRequest(f, f.capture, None)
    heads = [Head("request", 0, 1, 9, (f.request or "", f.title))]
    for color in (True, False):
        out = io.StringIO()
        writer = TerminalWriter(out, Terminal(width=width, color=color, unicode=True))
        shown = ShownPackets(asked, ladder, None, heads, 0, [f], [f], Clock(None), f.title, [Related(None, ladder, "")])
        show_text.write(shown, writer, secrets=one.secrets)
        assert safe(_SGR.sub("", out.getvalue()))
        drawn = [line for line in _SGR.sub("", out.getvalue()).splitlines() if "│" in line]
        assert all(line.startswith(" " * 4) for line in drawn)


def _tokens(tokens: list[Token]) -> list[Token]:
    return [inner for token in tokens for inner in (token, *_tokens(token.children or []))]


OURS = re.compile(r"<details><summary>(?:Proof|Input and coverage)</summary>|</details>|\n")


@given(hostile_reports())
@settings(max_examples=examples(30), deadline=None)
def test_markdown_holds_no_markup_but_ours(one: Report) -> None:
    out = io.BytesIO()
    markdown.write(one, out)
    page = out.getvalue().decode()
    assert safe(page)
    tokens = _tokens(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(page))
    html = [token.content for token in tokens if token.type in ("html_block", "html_inline")]
    assert [OURS.sub("", text) for text in html] == [""] * len(html)
    kinds = {token.type for token in tokens} - {"html_block", "text", "softbreak", "hardbreak", "code_inline", "fence", "inline"}
    assert {kind.removesuffix("_open").removesuffix("_close") for kind in kinds} <= {
        *("heading", "paragraph", "bullet_list", "list_item", "strong", "link")
    }
    assert len([token for token in tokens if token.type == "heading_open"]) == 2
    address = one.findings[0].references[0].url
    for token in tokens:
        if token.type == "link_open":
            assert re.fullmatch(r"https?://[^\s<>]+", address)
        if token.type == "fence":
            assert token.info == "text"


@given(hostile_reports())
@settings(max_examples=examples(15), deadline=None)
def test_html_holds_no_element_but_ours(one: Report) -> None:
    made = page_of(one)
    page = Page(made)
    assert not page.unbalanced
    plain = Page(
        page_of(report([finding(evidence=one.findings[0].evidence)], [connection(1)], [exchange(1)], [capture(), capture()]))
    )
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in plain.elements} | {"ul", "li", "h3", "p", "strong"}
    assert {name for _, attributes in page.elements for name in attributes} <= {
        name for _, attributes in plain.elements for name in attributes
    }
    assert safe(" ".join(page.said))
    assert all(safe(value or "") for _, attributes in page.elements for value in attributes.values())
    assert len([1 for tag, _ in page.elements if tag == "script"]) == 2
    assert safe(str(page_data(made)))
    [link] = [attributes["href"] for tag, attributes in page.elements if tag == "a" and "rel" in attributes] or [None]
    assert link is None or re.match(r"https?://[^\s<>\"']+$", link)


@given(hostile_reports())
@settings(max_examples=examples(25), deadline=None)
def test_json_is_ascii_and_means_the_same(one: Report) -> None:
    out = io.BytesIO()
    json.write(one, out, full=True)
    page = out.getvalue().decode("ascii")
    assert safe(page)
    read: dict[str, Any] = standard_json.loads(page)
    assert read["findings"][0]["message"] == one.findings[0].message
    assert read["captures"][0]["file"] == one.captures[0].file == read["exchanges"][0]["capture"]
    lines = io.BytesIO()
    json.write_lines(one, lines)
    json.write_table_lines(one, lines, "exchanges")
    json.write_table_lines(one, lines, "connections")
    assert [standard_json.loads(line) for line in lines.getvalue().decode("ascii").split("\n")[:-1]]
    assert lines.getvalue().count(b"\n") == 4


@given(hostile_reports())
@settings(max_examples=examples(25), deadline=None)
def test_other_programs_read_what_was_written(one: Report) -> None:
    out = io.BytesIO()
    sarif.write(one, out, {}, unread=["\x1b[2J\ud800"])
    page = out.getvalue().decode("ascii")
    assert safe(page)
    run: dict[str, Any] = standard_json.loads(page)["runs"][0]
    assert run["results"][0]["partialFingerprints"]["wiredoctorFinding/v1"] == one.findings[0].fingerprint
    assert all(safe(line) for line in run["results"][0]["message"].values())
    out = io.BytesIO()
    junit.write(one, out, unread=["\x1b[2J\ud800"])
    assert safe(out.getvalue().decode())
    names = [case.attrib["name"] for case in ElementTree.fromstring(out.getvalue()).iter("testcase")]
    assert names[-2:] == ["\\x1b[2J\\ud800", clean(one.incomplete[0])]
    assert clean(one.findings[0].rule) in names
    out = io.BytesIO()
    csv.write(one, out)
    for table in ("exchanges", "connections"):
        csv_rows.write(one, out, table)
    page = out.getvalue().decode()
    assert safe(page.replace("\r\n", "\n"))
    rows = [*standard_csv.reader(io.StringIO(page, newline=""), strict=True)]
    assert len(rows) == 6
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(csv.FORMULA) or re.fullmatch(r"-[0-9.e-]*", cell)


@given(hostile_reports())
@settings(max_examples=examples(25), deadline=None)
def test_archives_and_tables_hold_what_is_safe(one: Report) -> None:
    out = io.BytesIO()
    har.write(one, out)
    archive = standard_json.loads(out.getvalue().decode("ascii"))["log"]
    [entry] = archive["entries"]
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!#$&-;=?-Z_a-z~%\[\]]+", entry["request"]["url"])
    assert safe(entry["request"]["method"] + entry["response"]["statusText"] + archive["pages"][0]["title"])
    tables = {name: rows.to_dicts() for name, rows in exported.portions(one)}
    assert tables.keys() == {"findings", "connections", "exchanges"}
    for rows in tables.values():
        for row in rows:
            assert all(safe(value) for name, value in row.items() if isinstance(value, str) and name != "capture")


class Copied:
    """What is told to whoever copies a capture with comments."""

    def copy(self, _: object, packets: int, about: str, comments: Iterable[tuple[int, list[str]]], only: None) -> None:
        self.texts = [about, *(text for _, texts in comments for text in texts)]


@given(hostile_reports())
@settings(max_examples=examples(25), deadline=None)
def test_comments_on_packets_are_lines_of_plain_text(one: Report) -> None:
    copied = Copied()
    one.packets = {one.captures[0].file: copied}  # pyright: ignore[reportAttributeAccessIssue]
    pcapng.write(replace(one, captures=one.captures[:1]), io.BytesIO())
    assert len(copied.texts) > 1
    for said in copied.texts:
        assert safe(said)
        assert len(said.encode()) < 0x10000
    assert not any("\n" in said for said in copied.texts[1:])


def test_a_name_of_megabytes_is_cut_where_people_read() -> None:
    name = "/\x1b[31m[bold]<b>" * 500_000
    row = exchange(1, request_target=name, request_time=MS, capture="a")
    one = report([finding(request=f"GET {name}", client_software=name[:120])], [], [row], [capture(file="a")])
    for module in (text, exchanges):
        out = io.StringIO()
        module.write(one, out, Terminal(width=80))
        assert len(out.getvalue()) < 10_000
    page = io.BytesIO()
    markdown.write(one, page)
    assert len(page.getvalue()) < markdown.MAX_BYTES
