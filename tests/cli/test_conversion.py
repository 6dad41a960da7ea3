"""Words are converted as Typer itself converts them, only sooner."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command

from wiredoctor.cli.conversion import without_pydantic
from wiredoctor.cli.options import Captures, Color, Colors, Connections, Hosts, Ports, Quiet

NAMES = ["-h", "--help"]


def program(seen: list[dict[str, Any]]) -> typer.Typer:
    app = typer.Typer(context_settings={"help_option_names": NAMES}, rich_markup_mode=None)

    @app.command()
    def command(
        captures: Captures,
        host: Hosts = None,
        port: Ports = None,
        connection: Connections = None,
        color: Colors = Color.auto,
        quiet: Quiet = False,
        least: Annotated[int, typer.Option(min=1)] = 3,
        title: str | None = None,
    ) -> None:
        seen.append(dict(locals()))

    return app


def outcome(words: list[str], *, quick: bool) -> tuple[int, list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []
    command: Any = get_command(program(seen))
    if quick:
        without_pydantic(command, NAMES)
    with pytest.raises(SystemExit) as end:
        command(words, prog_name="x")
    for call in seen:
        call.pop("seen", None)
    return int(end.value.code or 0), seen


@pytest.mark.parametrize(
    "words",
    [
        ["a"],
        ["a", "b", "--host", "h", "--host", "i", "--port", "0", "--port", "65535", "--connection", "7"],
        ["a", "--color", "never", "-q", "--least", "1", "--title", "x y"],
        ["--", "-x"],
        [],
        ["a", "--port", "65536"],
        ["a", "--port", "-1"],
        ["a", "--port", "x"],
        ["a", "--least", "0"],
        ["a", "--color", "blue"],
        ["a", "--quiet=yes"],
        ["--help"],
    ],
)
def test_the_same_as_typer(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    slow, quick = outcome(words, quick=False), outcome(words, quick=True)
    assert quick == slow
    assert slow[0] in (0, 2)
    assert bool(slow[1]) == (slow[0] == 0 and "--help" not in words)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a", "--port", "65536"], "65536 is above 65535."),
        (["a", "--least", "0"], "0 is below 1."),
        (["a", "--port", "x"], "'x' is not a whole number."),
        (["a", "--color", "blue"], "'blue' is not one of auto, always, never."),
    ],
)
def test_what_is_wrong_is_said(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(words, quick=True)[0] == 2
    assert says in capsys.readouterr().err
