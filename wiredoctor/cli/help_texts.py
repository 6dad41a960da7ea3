"""Help texts other than those of options: commands by task, examples, and the address of the documentation.

This module is loaded only to show help.
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
    ("wiredoctor trace.pcap", "find out what is wrong in a capture (short for wiredoctor analyze trace.pcap)"),
    ("sudo wiredoctor live -i any --port 8080", "find out what is wrong right now"),
)
"""The examples of the program as a whole."""

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "analyze": (
        ("wiredoctor analyze trace.pcap -o report.html", "print a report, and also write one for the browser"),
        ("wiredoctor analyze --fail-on error --baseline known.json *.pcapng", "in CI: exit with 1 if there are new errors"),
    ),
    "live": (
        ("sudo wiredoctor live -i any --port 8080", "watch a port on all interfaces until Ctrl-C"),
        ("wiredoctor live --ssh app1 --port 8080", "watch a port on another host, which needs only tcpdump"),
    ),
    "run": (
        ("sudo wiredoctor run -- curl http://app1:8080/", "find out why a request was slow or failed"),
        (
            "sudo wiredoctor run -o report.html -- pytest tests/e2e",
            "write an HTML page that shows what went wrong in a test run",
        ),
    ),
    "compare": (
        ("wiredoctor compare before.pcap after.pcap", "what a change fixed, and what it broke"),
        (
            "wiredoctor compare --both-sides client.pcap server.pcap",
            "captures from both ends of a path: where packets were lost or delayed",
        ),
    ),
    "show": (
        ("wiredoctor show trace.pcap --finding 3", "show the packets of a finding, with the waits drawn to scale"),
        ("wiredoctor show trace.pcap --connection 7 --follow", "show the bytes that both sides of a connection sent"),
    ),
    "exchanges": (
        ("wiredoctor exchanges trace.pcap --port 8080", "show each request to a port, and where its time went"),
        ("wiredoctor exchanges trace.pcap --format csv > exchanges.csv", "write a file for a spreadsheet"),
    ),
    "connections": (
        ("wiredoctor connections trace.pcap --host 10.0.0.5", "show the TCP connections of a host"),
        ("wiredoctor connections trace.pcap --format jsonl | jq .", "print one JSON object per line"),
    ),
    "servers": (
        ("wiredoctor servers trace.pcap", "find the servers that fail or are slow"),
        ("wiredoctor servers trace.pcap --by path --top 10", "find the ten paths with the most failures"),
    ),
    "extract": (
        (
            "wiredoctor extract trace.pcap --finding 3 --anonymize -o proof.pcapng",
            "write evidence that you can share, without secrets",
        ),
        ("wiredoctor extract trace.pcap --connection 7 -o one.pcapng", "copy a connection as it was captured"),
    ),
    "interfaces": (
        ("wiredoctor interfaces", "show where you can capture on this machine, and which permissions are missing"),
        ("wiredoctor interfaces --format json", "print the interfaces and permissions as JSON, for a script"),
    ),
    "rules": (
        ("wiredoctor rules", "list all rules"),
        ("wiredoctor rules | grep -i timeout", "list only rules about timeouts"),
    ),
    "explain": (
        ("wiredoctor explain keep-alive-race", "find out what a rule means, and what to change"),
        ("wiredoctor explain RemoteDisconnected", "find the rules that explain an error message"),
    ),
    "explain-log": (
        ("wiredoctor explain-log access.log trace.pcap", "find out why requests in a log failed with 5xx or were slow"),
        (
            "wiredoctor explain-log access.json.gz trace.pcap --slow 200ms --format json",
            "print JSON; requests of 200 ms or more count as slow",
        ),
    ),
    "mcp": (
        ("wiredoctor mcp --folder ./captures", "let a language model read the captures of a folder"),
        ("claude mcp add wiredoctor -- wiredoctor mcp --folder ~/captures", "register the server with a client"),
    ),
    "schema": (
        ("wiredoctor schema > report.schema.json", "save the schema, to validate JSON reports"),
        ("wiredoctor schema | jq '.properties | keys'", "list what a report contains"),
    ),
}
"""Two example command lines for each command, each with its purpose."""


def write_commands(summaries: Mapping[str, str], formatter: Any) -> None:
    """Write the commands, grouped by task. Commands without a task come last."""
    named = {name for names in TASKS.values() for name in names}
    tasks = {**TASKS, "Other commands": tuple(name for name in summaries if name not in named)}
    width = max(map(len, summaries))
    for task, names in tasks.items():
        there = [(name.ljust(width), summaries[name]) for name in names if name in summaries]
        if there:
            with formatter.section(task):
                formatter.write_dl(there)


def write_examples(examples: Sequence[tuple[str, str]], formatter: Any) -> None:
    """Write example command lines with their meaning, and the address of the documentation."""
    with formatter.section("Examples"):
        for line in example_lines(examples):
            formatter.write(" " * formatter.current_indent + line + "\n")
    formatter.write(f"\nDocumentation: {DOCUMENTATION}\n")


def example_lines(examples: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield two lines for each example: its meaning as a comment, and the command line, which is never wrapped."""
    for line, meaning in examples:
        yield f"# {meaning}"
        yield line
