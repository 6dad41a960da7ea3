"""Help texts other than those of options: commands by task, examples, and the address of the documentation.

This module is loaded for help only; man pages are made from the same texts (`manual_pages`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wiredoctor.report.addresses import DOCUMENTATION

TASKS: dict[str, tuple[str, ...]] = {
    "Find what is wrong": ("analyze", "live", "run", "compare"),
    "Look closer": ("show", "exchanges", "connections", "servers", "extract"),
    "Look it up": ("explain", "explain-log", "rules"),
    "Set up, and connect other programs": ("interfaces", "mcp", "schema"),
}
"""The commands by task, in the order in which they are usually needed."""

FIRST_STEPS = (
    ("wiredoctor trace.pcap", "what is wrong in a capture: short for wiredoctor analyze trace.pcap"),
    ("sudo wiredoctor live -i any --port 8080", "what is wrong right now"),
)
"""The examples of the program as a whole."""

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "analyze": (
        ("wiredoctor analyze trace.pcap -o report.html", "print a report, and write one for the browser"),
        ("wiredoctor analyze --fail-on error --baseline known.json *.pcapng", "in CI: exit with 1 on new errors"),
    ),
    "live": (
        ("sudo wiredoctor live -i any --port 8080", "watch a port on all interfaces until Ctrl-C"),
        ("wiredoctor live --ssh app1 --port 8080", "on another host, which needs only tcpdump"),
    ),
    "run": (
        ("sudo wiredoctor run -- curl http://app1:8080/", "what was wrong with a request"),
        ("sudo wiredoctor run -o report.html -- pytest tests/e2e", "what went wrong in a test run, as a page for the browser"),
    ),
    "compare": (
        ("wiredoctor compare before.pcap after.pcap", "what a change fixed, and what it broke"),
        ("wiredoctor compare --both-sides client.pcap server.pcap", "one path seen from both ends: who lost or delayed what"),
    ),
    "show": (
        ("wiredoctor show trace.pcap --finding 3", "the packets of a finding, with the waits drawn to scale"),
        ("wiredoctor show trace.pcap --connection 7 --follow", "the bytes of both sides of a connection"),
    ),
    "exchanges": (
        ("wiredoctor exchanges trace.pcap --port 8080", "each request of a port, and where its time went"),
        ("wiredoctor exchanges trace.pcap --format csv > exchanges.csv", "for a spreadsheet"),
    ),
    "connections": (
        ("wiredoctor connections trace.pcap --host 10.0.0.5", "the TCP connections of a host"),
        ("wiredoctor connections trace.pcap --format jsonl | jq .", "one JSON object per line"),
    ),
    "servers": (
        ("wiredoctor servers trace.pcap", "which server fails, and which one is slow"),
        ("wiredoctor servers trace.pcap --by path --top 10", "the ten paths with the most failures"),
    ),
    "extract": (
        ("wiredoctor extract trace.pcap --finding 3 --anonymize -o proof.pcapng", "evidence to share, without secrets"),
        ("wiredoctor extract trace.pcap --connection 7 -o one.pcapng", "a connection as it was captured"),
    ),
    "interfaces": (
        ("wiredoctor interfaces", "where this machine can capture, and which permissions that needs"),
        ("wiredoctor interfaces --format json", "the same for a script"),
    ),
    "rules": (
        ("wiredoctor rules", "all rules, one line each"),
        ("wiredoctor rules | grep -i timeout", "only the rules about timeouts"),
    ),
    "explain": (
        ("wiredoctor explain keep-alive-race", "what a rule means, and what to change"),
        ("wiredoctor explain RemoteDisconnected", "which rules explain an error message"),
    ),
    "explain-log": (
        ("wiredoctor explain-log access.log trace.pcap", "why requests in a log failed with 5xx or were slow"),
        (
            "wiredoctor explain-log access.json.gz trace.pcap --slow 200ms --format json",
            "as JSON, and requests of 200 ms or more count as slow",
        ),
    ),
    "mcp": (
        ("wiredoctor mcp --folder ./captures", "let a language model read the captures of a folder"),
        ("claude mcp add wiredoctor -- wiredoctor mcp --folder ~/captures", "register it with a client"),
    ),
    "schema": (
        ("wiredoctor schema > report.schema.json", "to validate JSON reports"),
        ("wiredoctor schema | jq '.properties | keys'", "what a report contains"),
    ),
}
"""Two command lines for each command, and what they are for."""


def write_commands(summaries: Mapping[str, str], formatter: Any) -> None:
    """Write the commands by task; commands without a task come last."""
    named = {name for names in TASKS.values() for name in names}
    tasks = {**TASKS, "Other commands": tuple(name for name in summaries if name not in named)}
    width = max(map(len, summaries))
    for task, names in tasks.items():
        there = [(name.ljust(width), summaries[name]) for name in names if name in summaries]
        if there:
            with formatter.section(task):
                formatter.write_dl(there)


def write_examples(examples: Sequence[tuple[str, str]], formatter: Any) -> None:
    """Write command lines with their meaning, and the address of the documentation."""
    with formatter.section("Examples"):
        for line in example_lines(examples):
            formatter.write(" " * formatter.current_indent + line + "\n")
    formatter.write(f"\nDocumentation: {DOCUMENTATION}\n")


def example_lines(examples: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield the meaning of each command line as a comment, and the line, which is never wrapped."""
    for line, meaning in examples:
        yield f"# {meaning}"
        yield line
