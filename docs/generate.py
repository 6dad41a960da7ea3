"""Writes what is made from the source: the tables, a page per rule, and the README's list of rules.

    python docs/generate.py
    python docs/generate.py --output

The second also runs every command and every Python example of the pages, and writes what they print now. It says which
pages have changed: what is written there about the output may have to change, too. tests/test_docs.py fails while
anything is not current.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from pathlib import Path

from polars import DataType, List, Struct
from rule_pages import header, recordings, row, rule_page, severities

from wiredoctor import limits
from wiredoctor.limits import Limit
from wiredoctor.report.terminal.error_messages import Message, messages
from wiredoctor.report.terminal.manual import in_cases
from wiredoctor.rule_engine import RuleModule, catalogue
from wiredoctor.tables import (
    AS_OF,
    CLOSES,
    EVENT_TABLES,
    EXCHANGES,
    FINDINGS,
    FINISHED_EXCHANGES,
    RENAMED,
    TABLES,
    Column,
    Table,
)

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "pages"
README = ROOT / "README.md"

LISTED = re.compile(r"^\| \[`[a-z0-9-]+`\]\(docs/pages/rules/([a-z0-9-]+)\.md\) \|.*\| (.*) \|\n", re.MULTILINE)
"""A rule in the list of README.md: its name, and what a user sees of it, which is written by hand."""
UNSEEN = "?"
"""Stands there until somebody has written it."""

FAMILIES = ("stalls", "lifetime", "streaming", "framing", "round-trips", "gateways", "capture")
"""As a reader asks: who waited, who was cut off. What is about the capture itself comes last."""

TABLES_HEAD = """\
# The tables

wiredoctor turns packets into columns and columns into tables; every finding is a query over them. This page is made from
`wiredoctor/tables.py`, where each column is declared.

The [Python API](how-to/python.md) gives two of them as Polars frames: [`connections`](#connections) and
[`exchanges`](#exchanges), each with a column `capture`, the file, in front. A rule reads any of `releases`, `recoveries`,
`closures`, `window_stalls`, `runs`, `unacknowledged`, `bursts`, `messages`, `exchanges`, `closes`, `faults`, `connections` and
`captures`, or all `segments`, which is slower. The others are what the stages hand to each other.

`releases`, `recoveries`, `closures`, `window_stalls`, `runs` and `unacknowledged` are event tables: the few packets that
rules about packets judge, filtered from `segments`. Which rows they have follows from the thresholds of the rules that run.
[`-o tables/`](formats.md#tables) writes all other tables into Parquet or Arrow files, with `capture` in front, and
[`findings`](#findings) beside them; there `records` have their `frame` and their `connection`, too, and `packets` their
`connection`.

A rule finds two rows of an exchange:

- in `exchanges`, as soon as its response is complete or will never be. `final_at` is the capture time as of which the row holds.
  The columns that say what followed are not there: {followed}.
- in [`closes`](#closes), when it is known what followed: at the next request, at a close, or at the end of the capture.
  Some columns have another name there: {renamed}.

Each row has {as_of} as of its own time; for users `exchanges` has those of the first.

- Times are whole nanoseconds since the first packet of the capture.
- Frames count from 1, as Wireshark's `frame.number`. Connection ids equal Wireshark's `tcp.stream`, up to the first
  connection whose ports were used before and whose SYN is missing (`reuse_frame`): Wireshark does not tell it from that before.
- Stream offsets are sequence numbers unwrapped to 64 bits: 0 is the first byte after the SYN of that direction. Without a SYN
  it is the first byte that was seen, so that a late copy of an earlier byte has a negative offset.
- "Seen" always means: at the capture point.
- A type with `?` may be null: there is no value, or it was not captured.
"""

LIMITS_HEAD = """\
# Limits

What bounds the memory and the work of wiredoctor, whatever a capture holds. Most captures meet none of them. Where one is met
and something is lost by that, the report says so: `Limit reached: ...` at the end of the text, `limits` in JSON. This page is
made from `wiredoctor/limits.py`, where each limit is declared.

The thresholds of the rules are in [the rules' own pages](rules/README.md), and can be [configured](configuration.md#thresholds).
"""

MESSAGES_HEAD = """\
# Messages

What programs say of a fault, and the rules that explain it. `wiredoctor explain` finds a message alone or inside a line of a log:
case, quotation marks, punctuation and white space do not count, and the message that says most wins. It says what decides between
rules, and prints the page of the first. This page is made from `wiredoctor/report/terminal/error_messages.txt`, where a row is a
line.

- `...` stands for a host, a port, a path or a number.
- Of a termination state of haproxy the first two characters count, with case.
- A response flag of Envoy counts alone, or behind a status.
- *Unverified*: known from memory only. Others were read in the source that is named, or, without one, in public code or reports.
- No rule: wiredoctor does not judge it, or nothing is wrong.
"""

RULES_HEAD = """\
# The rules

What wiredoctor looks for, by family. A rule is named on the command line (`--select`, `--ignore`, `wiredoctor explain`), in
reports and in JSON as it is named here; a family stands for all its rules.

Errors are requests that failed, or data that was lost or cannot be read safely. Warnings are users who wait, or what the next
load will break. Notes are worth knowing.

[Field stories](../stories/README.md) show some of them at work. [Writing a rule](../writing-a-rule.md) tells how to add one.
"""

COMPARED = """\
Rules that look across connections ({rules}) see the last {time} of a capture, and of that at
most the last {exchanges}. A connection that began earlier is left out with all its exchanges; the family `capture` still sees
it where it lasted until then. The report says how many were left out ([`{limit}`](../limits.md#rules)).
"""


def pages() -> dict[Path, str]:
    """Path below docs/pages/ -> text of each page that is made from the source."""
    rules = catalogue()
    recorded = recordings()
    return {
        Path("tables.md"): tables_page(_described()),
        Path("limits.md"): limits_page(limits.every().values()),
        Path("messages.md"): messages_page(messages(), rules),
        Path("rules/README.md"): rules_page(rules.values()),
        **{Path(f"rules/{name}.md"): rule_page(module, recorded.get(name, [])) for name, module in rules.items()},
    }


def tables_page(tables: Iterable[Table]) -> str:
    """All tables, a line per column."""
    later = [c.name for c in EXCHANGES.columns if c.name not in FINISHED_EXCHANGES.schema]
    head = TABLES_HEAD.format(
        followed=_listed(later), as_of=_listed(AS_OF), renamed=_listed(f"{new}` for `{old}" for old, new in RENAMED.items())
    )
    return head + "".join(_table(table) for table in tables)


def _described() -> Iterator[Table]:
    """Yield the tables in the order of the page."""
    for table in TABLES.values():
        yield table
        if table is EXCHANGES:
            yield CLOSES
    yield from EVENT_TABLES.values()
    yield FINDINGS


def _listed(names: Iterable[str]) -> str:
    *most, last = (f"`{name}`" for name in names)
    return f"{', '.join(most)} and {last}"


def _table(table: Table) -> str:
    lines = [row(f"`{c.name}`", _type(c), c.unit, c.meaning) for c in table.columns]
    return "\n".join(
        ["", f"## `{table.name}`", "", f"A row is {table.row}.", "", *header("column", "type", "unit", "meaning"), *lines, ""]
    )


def _type(column: Column) -> str:
    name = _named(column.dtype)
    return f"{name}?" if column.nullable else name


def _named(dtype: DataType) -> str:
    if isinstance(dtype, List):
        return f"list of {_named(dtype.inner)}"
    if isinstance(dtype, Struct):
        return f"struct of {', '.join(f'{field.name} {_named(field.dtype)}' for field in dtype.fields)}"
    return str(dtype).lower().replace("string", "text")


def limits_page(every: Iterable[Limit]) -> str:
    """All limits, a table for each stage."""
    lines = [LIMITS_HEAD]
    for stage, some in groupby(every, key=lambda limit: limit.stage):
        lines += [f"## {stage}", "", *header("limit", "value", "why", "what the report says")]
        lines += [row(f"`{x.name}`", x.text, x.reason, x.sentence and f"{x.said(3)}") for x in some]
        lines += [""]
    return "\n".join(lines)


def messages_page(rows: Iterable[Message], rules: Collection[str]) -> str:
    """All messages, a table for each program; rules that do not exist are left out."""
    lines = [MESSAGES_HEAD]
    by_software: dict[str, list[Message]] = {}
    for told in rows:
        by_software.setdefault(told.software, []).append(told)
    for software, some in by_software.items():
        lines += [f"## {software or 'Any program'}", "", *header("message", "what it means", "rules, likeliest first", "source")]
        lines += [row(_said(x), _sentence(x.means), in_cases(x, _links(x, rules)) or "none", _source(x)) for x in some]
        lines += [""]
    return "\n".join(lines)


def _said(told: Message) -> str:
    return "<br>".join(f"`{said.lstrip('~=%').replace('`', '')}`" for said in dict.fromkeys(s.lstrip("~=%") for s in told.said))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _links(told: Message, rules: Collection[str]) -> dict[str, str]:
    kinds = {name: f" (*{kinds}*)" if kinds else "" for name, kinds in told.kinds.items()}
    return {name: f"[`{name}`](rules/{name}.md){kinds[name]}" for name in told.rules if name in rules}


def _source(told: Message) -> str:
    return {"s": told.source, "d": told.source, "u": "*unverified*"}.get(told.read, "")


def rules_page(rules: Iterable[RuleModule]) -> str:
    """The list of all rules."""
    rules = by_family(rules)
    lines = [row(m.family, f"[`{m.name}`]({m.name}.md)", severities(m.rule), m.doc.partition("\n")[0]) for m in rules]
    return "\n".join([RULES_HEAD, _compared(rules), *header("family", "rule", "severity", "what it finds"), *lines, ""])


def by_family(rules: Iterable[RuleModule]) -> list[RuleModule]:
    """In the order of FAMILIES; within one as before."""
    return sorted(rules, key=lambda m: FAMILIES.index(m.family) if m.family in FAMILIES else len(FAMILIES))


def _compared(rules: Iterable[RuleModule]) -> str:
    """How much of a long capture the rules see that look across connections."""
    across = [f"`{m.name}`" for m in rules if m.rule.summary and m.family != "capture"]
    time, exchanges = limits.COMPARED_TIME, limits.COMPARED_EXCHANGES
    return COMPARED.format(
        rules=f"{', '.join(across)}, and the family `capture`", time=time.text, exchanges=exchanges.text, limit=time.name
    )


def with_list(readme: str, rules: Iterable[RuleModule]) -> str:
    """README.md with a line for each rule; what a user sees stays as it is written there."""
    seen = dict(LISTED.findall(readme))
    ordered = by_family(rules)
    pages = {m.name: f"[`{m.name}`](docs/pages/rules/{m.name}.md)" for m in ordered}
    lines = [row(pages[m.name], m.doc.partition("\n")[0], seen.get(m.name, UNSEEN)) for m in ordered]
    first, *_, last = LISTED.finditer(readme)
    return readme[: first.start()] + "".join(f"{line}\n" for line in lines) + readme[last.end() :]


def main() -> None:
    """Writes all pages, and removes pages of rules that are gone."""

    output = "--output" in sys.argv[1:]
    if output:
        # beside this file, which only a script finds; a page says what is in its picture
        import pictures

        pictures.refresh()
    made = pages()
    for path, text in made.items():
        (PAGES / path).parent.mkdir(exist_ok=True)
        (PAGES / path).write_text(text, "utf-8")
    for page in (PAGES / "rules").glob("*.md"):
        if page.relative_to(PAGES) not in made:
            page.unlink()
    README.write_text(with_list(README.read_text("utf-8"), catalogue().values()), "utf-8")
    if output:
        import shown

        shown.refresh()


if __name__ == "__main__":
    main()
