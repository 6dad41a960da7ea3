"""Help the user choose an interface if `live` was started without an interface."""

from __future__ import annotations

import sys

from wiredoctor.cli.exit_codes import UsageError
from wiredoctor.report.words import clean, count

ALL = "any"

SECONDS = 1.0
"""The time in seconds for which the packets of each interface are counted."""


def choose_interface() -> str:
    """List the interfaces with their traffic, and return the name of the one that the user chooses.

    Raise UsageError if there is no terminal, or the answer is not an interface.
    """
    from wiredoctor.interfaces import UnsupportedSystemError, interfaces, traffic

    try:
        names = [one.name for one in interfaces() if one.state == "up" and one.name != ALL]
    except UnsupportedSystemError:
        raise UsageError("live: name an interface, as in -i en0 (tcpdump -D lists them)") from None
    counts = traffic(SECONDS)
    busy = sorted((name for name in names if counts.get(name)), key=lambda name: -counts[name])
    choices = [ALL, *busy]
    _print_choices(choices, {ALL: sum(counts[name] for name in busy), **counts}, [name for name in names if name not in busy])
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("live: name an interface, as in -i any")
    return _ask(choices, names)


def _print_choices(choices: list[str], counts: dict[str, int], silent: list[str]) -> None:
    width = max(map(len, choices))
    lines = [
        f"  {number}  {clean(name):<{width}}  {count(counts[name], 'packet')}{' (all interfaces)' if name == ALL else ''}"
        for number, name in enumerate(choices)
    ]
    lines += [f"     no packets: {', '.join(map(clean, silent))}"] if silent else []
    print(f"Traffic in the last {SECONDS:.0f} s:", *lines, sep="\n", file=sys.stderr)  # noqa: T201 - to standard error


def _ask(choices: list[str], names: list[str]) -> str:
    """Ask the user for an interface, and return its name.

    The answer is a number in `choices` or a name; an empty line means `any`. Raise UsageError for any other answer.
    """
    sys.stderr.write(f"Capture on which interface (number or name)? [{ALL}] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer:
        raise UsageError("live: name an interface, as in -i any")
    word = answer.strip()
    if word.isascii() and word.isdecimal() and int(word) < len(choices):
        return choices[int(word)]
    if word in ("", *names, ALL):
        return word or ALL
    raise UsageError(f"live: there is no interface {word!r} that is up")
