"""Generate pages from the source: tables, limits, messages, the list of rules, and a page per rule.

    python docs/generate.py
    python docs/generate.py --output

The second command also runs every command and every Python example of the pages, and writes their current output. It
lists the changed pages: their prose about the output may need a change, too. tests/test_docs.py fails while any page is
outdated.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from polars import DataType, List, Struct
from rule_pages import header, recordings, row, rule_page, severities

from wiredoctor import limits
from wiredoctor.findings.keys import FINDINGS
from wiredoctor.limits import Limit
from wiredoctor.report.terminal.error_messages import Message, messages
from wiredoctor.report.terminal.manual import in_cases
from wiredoctor.rule_engine import RuleModule, catalogue
from wiredoctor.tables import (
    AT_ITS_END,
    AT_THE_CLOSE,
    DERIVED,
    EVENT_TABLES,
    EXCHANGES,
    OLD_NAMES,
    RULE_TABLES,
    STATE_COLUMNS,
    TABLES,
    Column,
    Table,
)

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "pages"

FAMILIES = ("handshake", "stalls", "lifetime", "streaming", "framing", "round-trips", "gateways", "capture")
"""Families in the order of the page; rules about the capture itself come last."""

TABLES_HEAD = """\
# The tables

wiredoctor turns packets into columns, and columns into tables. Every finding is the result of a query over tables. This
page is generated from `wiredoctor/tables/`, which declares each column.

The [Python API](how-to/python.md) returns two tables as Polars data frames: [`connections`](#connections) and
[`exchanges`](#exchanges). Their first column, `capture`, is the name of the file. A rule can read all tables except
`findings`. The analysis takes longer if a rule reads `segments` or one of the tables of packets.

{events}
are event tables: they contain the few rows of `segments` that rules about packets need. The thresholds of the
selected rules determine these rows. {ruled} are not exported. [`-o
tables/`](formats.md#tables) writes all other tables and [`findings`](#findings) into Parquet or Arrow files, with `capture`
as the first column. In these files, `records` also has the columns `frame` and `connection`, and `packets` has `connection`.

An exchange has two rows that rules can read:

- in `exchanges`, as soon as its response is complete or known to be incomplete. `final_at` is the capture time from which
  the row is final. It has no columns about later events: {followed}.
- in [`closes`](#closes), when the later events are known: at the next request, at a close, or at the end of the capture.

The values of {as_of} are those at the time when the row was written. The Python API returns the values of the first row.

- Times are integer nanoseconds since the first packet of the capture.
- Frames count from 1, like Wireshark's `frame.number`. Connection ids equal Wireshark's `tcp.stream`, up to the first
  connection that reuses the ports of an earlier one and has no SYN in the capture (`reuse_frame`). Wireshark counts its
  packets as part of the earlier connection.
- Stream offsets are sequence numbers unwrapped to 64 bits: 0 is the first byte after the SYN of that direction. Without a
  SYN, 0 is the first byte that was seen, so a late copy of an earlier byte has a negative offset.
- "Seen" always means: at the capture point.
- A type with `?` may be null: there is no value, or it was not captured.
"""

RENAMED_HEAD = """
## Earlier names

The earlier names of these columns remain until version 2 of the JSON schema. Exports, `report.exchanges` and
`report.connections` of the Python API, and the tables of rules from other packages have both columns, with the same values.
"""

LIMITS_HEAD = """\
# Limits

These limits bound wiredoctor's memory and processor time, whatever a capture contains. Most captures reach none of them. If
a report is incomplete because of a limit, it says so: `Limit reached: ...` at the end of the text, `limits` in JSON. This
page is generated from `wiredoctor/limits.py`, which declares each limit.

The thresholds of the rules are on [the pages of the rules](rules/README.md), and can be
[configured](configuration.md#thresholds).
"""

MESSAGES_HEAD = """\
# Messages

This page lists error messages of programs, and the rules that explain them. `wiredoctor explain` finds a message also within
a line of a log. It ignores case, quotation marks, punctuation and white space, and uses the most specific message that
matches. If several rules are possible, it says how to decide between them, and then prints the page of the first rule. This
page is generated from `wiredoctor/report/terminal/error_messages.txt`, with a row per line.

- `...` stands for a host, a port, a path or a number.
- Of a haproxy termination state, only the first two characters count, and their case matters.
- An Envoy response flag is recognized if it stands alone, or after a status.
- *Unverified* messages were written from memory. The other messages come from the named source or, if none is named, from
  public code or reports.
- *none* means that wiredoctor has no rule for the message, or that nothing is wrong.
"""

RULES_HEAD = """\
# The rules

These are the rules of wiredoctor, by family. The command line (`--select`, `--ignore`, `wiredoctor explain`), reports and JSON
use these names. The name of a family stands for all its rules.

Errors are failed requests, and data that was lost or cannot be read safely. Warnings are delays for users, and problems that
more load will cause. Notes are information.

[Field stories](../stories/README.md) show some of the rules in use. [Writing a rule](../writing-a-rule.md) shows how to add one.
"""

COMPARED = """\
Rules that compare connections ({rules}) see the last {rows}.
They ignore connections that started earlier, and all exchanges on these. Rules of the family `capture` still use such a
connection if it was open later. The report says under "Not judged" how many connections were ignored
([`{limit}`](../limits.md#rules)).
"""


def pages() -> dict[Path, str]:
    """Return path below docs/pages/ -> text of each generated page."""
    rules = catalogue()
    recorded = recordings()
    return {
        Path("tables.md"): tables_page(_described()),
        Path("limits.md"): limits_page(limits.all_limits().values()),
        Path("messages.md"): messages_page(messages(), rules),
        Path("rules/README.md"): rules_page(rules.values()),
        **{Path(f"rules/{name}.md"): rule_page(module, recorded.get(name, [])) for name, module in rules.items()},
    }


def tables_page(tables: Iterable[Table]) -> str:
    """Return the page of all tables, with a line per column."""
    later = [c.name for c in EXCHANGES.columns if c.name not in AT_ITS_END.table.schema]
    ruled = [name for name in RULE_TABLES if name not in {*TABLES, *EVENT_TABLES}]
    head = TABLES_HEAD.format(
        followed=_listed(later), as_of=_listed(STATE_COLUMNS), events=_listed(EVENT_TABLES), ruled=_listed(ruled)
    )  # fmt: skip
    return head + "".join(_table(table) for table in tables) + _renamed()


def _renamed() -> str:
    """Return the section with the earlier names of columns."""
    lines = [row(f"`{table}`", f"`{new}`", f"`{old}`") for table, names in OLD_NAMES.items() for new, old in names.items()]
    return "\n".join([RENAMED_HEAD, *header("table", "column", "earlier name"), *lines, ""])


def _described() -> Iterator[Table]:
    """Yield the tables in the order of the page: TABLES, EVENT_TABLES, those that only rules read, and the findings."""
    for table in TABLES.values():
        yield table
        if table is EXCHANGES:
            yield AT_THE_CLOSE.table
    yield from EVENT_TABLES.values()
    yield from (table for name, table in RULE_TABLES.items() if name not in {*TABLES, *EVENT_TABLES, AT_THE_CLOSE.table.name})
    yield FINDINGS


def _listed(names: Iterable[str]) -> str:
    *most, last = (f"`{name}`" for name in names)
    return f"{', '.join(most)} and {last}"


def _table(table: Table) -> str:
    exported = [replace(c, meaning=f"{c.meaning} (only in exports)") for c in DERIVED.get(table.name, ())]
    lines = [row(f"`{c.name}`", _type(c), c.unit, c.meaning) for c in (*table.columns, *exported)]
    writer = [f"Written by `{table.writer.replace(':', '`, `')}`.", ""] if table.writer else []
    head = ["", f"## `{table.name}`", "", f"A row is {table.row}.", "", *writer]
    return "\n".join([*head, *header("column", "type", "unit", "meaning"), *lines, ""])


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
    """Return the page of all limits, with a table for each stage."""
    lines = [LIMITS_HEAD]
    for stage, some in groupby(every, key=lambda limit: limit.stage):
        lines += [f"## {stage}", "", *header("limit", "value", "why", "what the report says")]
        lines += [row(f"`{x.name}`", x.text, x.reason, x.sentence and f"{x.describe(3)}") for x in some]
        lines += [""]
    return "\n".join(lines)


def messages_page(rows: Iterable[Message], rules: Collection[str]) -> str:
    """Return the page of all messages, with a table for each program; rules that do not exist are omitted."""
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
    lines = [
        row(m.family, f"[`{m.name}`]({m.name}.md)", severities(m.rule), m.doc.partition("\n")[0], m.rule.symptom) for m in rules
    ]
    headings = header("family", "rule", "severity", "what it finds", "symptom")
    return "\n".join([RULES_HEAD, _compared(rules), *headings, *lines, ""])


def by_family(rules: Iterable[RuleModule]) -> list[RuleModule]:
    """In the order of FAMILIES; within one as before."""
    return sorted(rules, key=lambda m: FAMILIES.index(m.family) if m.family in FAMILIES else len(FAMILIES))


def _compared(rules: Iterable[RuleModule]) -> str:
    """How much of a long capture the rules see that look across connections."""
    across = [f"`{m.name}`" for m in rules if m.rule.summary and m.family != "capture"]
    rows = limits.COMPARED_ROWS
    return COMPARED.format(rules=f"{', '.join(across)}, and the family `capture`", rows=rows.text, limit=rows.name)


def main() -> None:
    """Writes all pages, and removes pages of rules that are gone."""

    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--output", action="store_true", help="also run the commands and examples of the pages")
    output = parser.parse_args().output
    if not Path(limits.__file__).is_relative_to(ROOT):
        sys.exit(f"{limits.__file__} is not in {ROOT}; set PYTHONPATH=.")
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
    if output:
        import shown

        shown.refresh()


if __name__ == "__main__":
    main()
