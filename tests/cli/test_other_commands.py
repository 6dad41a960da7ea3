"""exchanges, connections, rules, explain, schema, and the top."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from functools import partial
from pathlib import Path

import pytest
import typer
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

import wiredoctor
from tests.cli.conftest import FakeAnalysis, Run
from tests.support.sweeps import WHOLE, in_turn
from wiredoctor import core
from wiredoctor.cli.app import application


@WHOLE
@pytest.mark.parametrize("table", ["exchanges", "connections"])
def test_tables(run: Run, analysis: FakeAnalysis, table: str) -> None:
    text, whole, lines = (run(table, "trace.pcap", "--format", form) for form in ("text", "json", "jsonl"))
    assert text.exit_code == whole.exit_code == lines.exit_code == 0
    assert f"\n4 {'HTTP exchanges' if table == 'exchanges' else 'TCP connections'}" in text.stdout
    assert len(json.loads(whole.stdout)[table]) == 4
    assert [json.loads(line) for line in lines.stdout.splitlines()] == json.loads(whole.stdout)[table]
    narrowed = run(table, "trace.pcap", "--connection", 2, "--format", "jsonl").stdout.splitlines()
    assert len(narrowed) == 1
    analysis.unreadable = ["x: is empty"]
    assert run(table, "trace.pcap", "x").exit_code == 2


@pytest.mark.parametrize(
    ("words", "connections"),
    [
        (("--slow", "44ms"), [0, 1, 2, 3]),
        (("--slow", "0.0442"), []),
        (("--top", "2"), [0, 1]),
        (("--top", "1", "--sort", "size"), [0]),
        (("--status", "5xx"), []),
        (("--status", "404,2xx"), [0, 1, 2, 3]),
        (("--status", "none", "--status", "200"), [0, 1, 2, 3]),
        (("--host", "WWW.example.com", "--connection", "3"), [3]),
        (("--host", "10.0.0.9", "--host", "www.example.com:80"), []),
    ],
)
def test_chosen_exchanges(run: Run, words: tuple[str, ...], connections: list[int]) -> None:
    result = run("exchanges", "trace.pcap", "--format", "jsonl", *words)
    assert result.exit_code == 0
    assert [json.loads(line)["connection"] for line in result.stdout.splitlines()] == connections


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("exchanges", "--status", "5xy"), "--status: '5xy' is not a status: give a code (502), a class (5xx), 'any' or 'none'"),
        (("exchanges", "--slow", "soon"), "--slow: 'soon' is not a duration like 500ms, 30s, 2min or 1h"),
        (("exchanges", "--slow", "5 parsecs"), "--slow: '5 parsecs' is not a duration like 500ms, 30s, 2min or 1h"),
        (("connections", "--sort", "status"), "--sort status: connections have no status; use time, duration or size"),
        (("servers", "--host", "a/b"), "--host: 'a/b' is neither an IP address nor a host name"),
        (("connections", "--slow", "-1s"), "--slow: '-1s' is not a duration like 500ms, 30s, 2min or 1h"),
        (("exchanges", "--status", "600"), "--status: '600' is not a status: give a code (502), a class (5xx), 'any' or 'none'"),
        (
            ("exchanges", "--connection", "9"),
            "--connection 9: there is no such connection; there are 4 (wiredoctor connections lists them)",
        ),
        (("connections", "--host", "a/b"), "--host: 'a/b' is neither an IP address nor a host name"),
    ],
)
def test_wrong_choices(run: Run, words: tuple[str, ...], message: str) -> None:
    result = run(words[0], "trace.pcap", *words[1:])
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"wiredoctor: {message}\n")


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
@pytest.mark.parametrize("command", ["exchanges", "connections", "servers"])
def test_a_filter_that_nothing_passes_says_why(run: Run, command: str, form: str) -> None:
    """Text says it on standard output; the other formats remain readable, so they say it on standard error."""
    text, other, quiet = (
        run(command, "trace.pcap", "--host", "nobody.example", *words)
        for words in ((), ("--format", form), ("--format", form, "-q"))
    )
    what = "HTTP exchanges" if command == "exchanges" else "TCP connections"
    said = f"None of 4 {what} matches --host nobody.example. Servers: 10.0.0.2:80. Hosts: www.example.com."
    assert " ".join(text.stdout.split()) == said
    assert other.stderr == f"wiredoctor: {said}\n"
    assert quiet.stderr == text.stderr == ""
    assert other.stdout == quiet.stdout
    assert text.exit_code == other.exit_code == quiet.exit_code == 0


@pytest.mark.parametrize(
    ("sort", "by"),
    in_turn(["failed", "requests", "p50", "p95", "p99", "max", "lost", "name"], ["server", "host", "path", "client"]),
)
def test_servers_sort_the_same_in_every_format(run: Run, by: str, sort: str) -> None:
    words = ("servers", "trace.pcap", "--by", by, "--sort", sort, "--top", "2")
    text, whole, table = (run(*words, "--format", form).stdout for form in ("text", "json", "csv"))
    names = [one["name"] for one in json.loads(whole)["servers"]]
    assert 0 < len(names) <= 2
    assert [row["name"] for row in csv.DictReader(io.StringIO(table))] == names
    places = [text.index(f"\n{name.partition('?')[0][:10]}") for name in names]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("sort", "words"),
    in_turn(["time", "duration", "status", "size"], [[], ["--slow", "44ms"], ["--status", "200"], ["--host", "www.example.com"]]),
)
def test_options_of_exchanges_combine(run: Run, sort: str, words: list[str]) -> None:
    """All four exchanges are alike but for their time, so they stay in that order; --top keeps the first two."""
    for top, number in (("2", 2), ("9", 4)):
        options = (*words, "--sort", sort, "--top", top)
        text, lines = (run("exchanges", "trace.pcap", *options, "--format", form).stdout for form in ("text", "jsonl"))
        assert re.findall(r" (\d)#0 ", text) == [str(i) for i in range(number)]
        assert [json.loads(line)["connection"] for line in lines.splitlines()] == [*range(number)]


def test_bars_from_their_own_start(run: Run) -> None:
    common, relative = (run("exchanges", "trace.pcap", *words).stdout.splitlines() for words in ((), ("--relative",)))
    assert "cut off" not in common[2]
    assert "cut off" in relative[2]
    assert len({line.index("░") for line in relative[4:8]}) == 1
    assert len({line.index("░") for line in common[4:8]}) == 4


def test_rules(run: Run) -> None:
    result = run("rules")
    assert result.exit_code == 0
    assert "stalls\n" in result.stdout
    assert "  nagle-delayed-ack " in result.stdout


def test_explain(run: Run) -> None:
    result = run("explain", "nagle-delayed-ack")
    assert result.exit_code == 0
    assert result.stdout.startswith("nagle-delayed-ack (family stalls)\n")
    assert all(part in result.stdout for part in ("How it is proved\n", "Thresholds\n", "min-ack-delay = 30 ms"))


def test_explain_several_rules(run: Run) -> None:
    page = run("explain", "keep_alive-race", "no-response", "keep-alive-race").stdout
    assert [line for line in page.splitlines() if "(family " in line] == [
        "keep-alive-race (family lifetime)",
        "no-response (family lifetime)",
    ]


def test_explain_finds_what_people_search_for(run: Run) -> None:
    assert run("explain", "tinygram").stdout.startswith("tinygrams (family round-trips)\n")
    assert run("explain", "expected", "to", "be", "kept", "alive").stdout.startswith("What the words mean (.NET Framework): ")
    several = run("explain", "keepalive").stdout
    assert several.startswith('2 rules for "keepalive":\n\n  keep-alive-disabled ')


@pytest.mark.parametrize("words", [(), ("-",)])
def test_explain_reads_a_stack_trace(words: tuple[str, ...]) -> None:
    trace = "Exception in thread main\njava.io.IOException: HTTP/1.1 header parser received no bytes\n\tat a.b.C(D.java:7)\n"
    paste = partial(CliRunner().invoke, application(["explain"]), ["explain", *words], prog_name="wiredoctor")
    assert "What the words mean (Java HttpClient): " in paste(input=trace).stdout
    empty = paste(input="")
    assert (empty.exit_code, empty.stderr) == (2, "wiredoctor: standard input is empty\n")
    assert "ECONNRESET" not in paste(input=b"\xff\xfe zqzq").stdout
    unknown = paste(input="zqzq " * 1000)
    assert unknown.exit_code == 2
    assert len(unknown.stderr) < 1000


def test_explain_an_unknown_rule(run: Run) -> None:
    result = run("explain", "nagle-delayed-akc")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "wiredoctor: no rule has 'nagle-delayed-akc' in its name, its titles or its symptom; did you mean "
        "nagle-delayed-ack, nagle-round-trip or delayed-ack-stall?\n"
    )
    assert "did you mean" not in run("explain", "zqzq").stderr
    assert "no error message is known with these words" in run("explain", "zqzq").stderr
    assert run("explain", " ").stderr.startswith("wiredoctor: name a rule, or paste an error message")


@pytest.mark.slow
def test_every_rule_can_be_explained(run: Run) -> None:
    from wiredoctor.rule_engine import catalogue

    for name in catalogue():
        assert run("explain", name).stdout.startswith(f"{name} (family ")


def test_configured_thresholds_stand_beside_the_default(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "w.toml"
    file.write_text('ignore = ["capture"]\n[thresholds.nagle-delayed-ack]\nmin-ack-delay = "46ms"\n')
    page, listed = run("explain", "nagle-delayed-ack", "--config", file), run("rules", "--config", file)
    assert "min-ack-delay = 46 ms (default 30 ms)" in page.stdout
    assert "min-ack-delay = 46 ms (default 30 ms)" in listed.stdout
    assert listed.stdout.count("excluded by the configuration") >= 2
    assert "(default " not in run("rules").stdout


def test_schema(run: Run) -> None:
    result = run("schema")
    assert result.exit_code == 0
    Draft202012Validator.check_schema(json.loads(result.stdout))


def test_version(run: Run) -> None:
    how = f"interpreted ({core.reason})" if core.reason else "compiled"
    assert run("--version").stdout == f"wiredoctor {wiredoctor.__version__}, core {how}\n"


def test_help_names_every_command_whole(run: Run) -> None:
    text = run("--help").stdout
    commands = ("analyze", "exchanges", "connections", "interfaces", "rules", "explain", "schema")
    assert all(f"\n  {name} " in text for name in commands)
    assert "..." not in text.partition("Options:")[2]


def test_help_shows_each_command_under_one_task(run: Run) -> None:
    from wiredoctor.cli.app import COMMANDS
    from wiredoctor.cli.help_texts import TASKS

    assert sorted(name for names in TASKS.values() for name in names) == sorted(COMMANDS)
    text = run("--help").stdout
    assert all(text.count(f"\n  {name} ") == 1 for name in COMMANDS)
    assert all(f"\n{task}:\n" in text for task in TASKS)
    assert "Other commands" not in text


def test_examples_are_command_lines_that_work() -> None:
    """Each command has two; all are parsed by the command that they call, and every help ends with them."""
    from wiredoctor.cli.app import COMMANDS
    from wiredoctor.cli.help_texts import DOCUMENTATION, EXAMPLES, FIRST_STEPS

    assert EXAMPLES.keys() == COMMANDS.keys()
    group = typer.main.get_command(application())
    context = typer.Context(group, info_name="wiredoctor")
    for name, examples in {**EXAMPLES, "": FIRST_STEPS}.items():
        assert len(examples) == 2
        for line, meaning in examples:
            assert meaning
            words = re.split(" [|>] ", line)[0].partition("wiredoctor " if "add wiredoctor --" not in line else "-- wiredoctor ")[
                2
            ]
            first, *rest = shlex.split(words)
            assert not name or first == name, line
            if first not in COMMANDS:
                assert not name
                first, rest = "analyze", [first, *rest]
            group.get_command(context, first).make_context(
                first, rest, parent=context
            )  # raises for an option that does not exist
        text = (
            CliRunner()
            .invoke(application([name] if name else []), [*([name] if name else []), "--help"], env={"COLUMNS": "100"})
            .stdout
        )
        told = "".join(f"  # {meaning}\n  {line}\n" for line, meaning in examples)
        assert text.endswith(f"\nExamples:\n{told}\nDocumentation: {DOCUMENTATION}\n")
