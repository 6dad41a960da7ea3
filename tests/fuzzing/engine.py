"""One process that fuzzes: python -m tests.fuzzing.engine HARNESS ENGINE SECONDS SEED. `campaign` starts it.

atheris (libFuzzer, guided by the lines that an input reaches) where it is installed; else inputs from hypothesis, and
mutants of the corpus. Both count everything that goes wrong, write it down, and go on.
"""

from __future__ import annotations

import importlib
import operator
import os
import pkgutil
import sys
from collections.abc import Callable
from random import Random
from typing import Any

from tests.fuzzing import corpora, found, mutators, tokens
from tests.fuzzing.guard import Trouble, cpu_seconds, peak_megabytes, tried
from tests.fuzzing.harnesses import HARNESSES

OF_FILES = ("capture", "core", "whole")
"""Harnesses whose inputs are capture files: those are changed by what knows what a capture is."""

LONGEST = {"capture": 1 << 16, "core": 1 << 16, "whole": 1 << 16, "decode": 1 << 14, "tcp": 600, "http": 2_000, "parsers": 4_096}
"""Bytes of an input: many short ones find more than few long ones."""


class Fuzzing:
    """Tries inputs until the time is over, and remembers what went wrong."""

    def __init__(self, harness: str, run: Callable[[bytes], Any], seconds: float) -> None:
        self.harness, self.run, self.until = harness, run, cpu_seconds() + seconds
        self.inputs = 0
        self.troubles: dict[str, Trouble] = {}

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return cpu_seconds() >= self.until

    def one(self, data: bytes) -> None:
        """Tries an input."""
        self.inputs += 1
        trouble = tried(self.run, data)
        if trouble is not None:
            self.troubles.setdefault(trouble.key, trouble)
            found.keep(self.harness, data, trouble)

    def tell(self) -> None:
        """The figures, in a line."""
        wrong = "".join(f"; {t.kind}: {t.where}" for t in self.troubles.values())
        print(
            f"{self.harness}: {self.inputs} inputs in {cpu_seconds():.0f} s of CPU, "
            f"peak {peak_megabytes():.0f} MB, {len(self.troubles)} troubles{wrong}",
            flush=True,
        )


def by_atheris(harness: str, seconds: float, seed: int) -> None:
    """Guided by coverage of wiredoctor's own lines."""
    import atheris

    with atheris.instrument_imports(include=["wiredoctor"]):
        run = HARNESSES[harness]()
        _load_all()
    fuzzing = Fuzzing(harness, run, seconds)

    def one(data: bytes) -> None:
        if not fuzzing.inputs:
            _follow_only_plain(atheris)  # Fuzz() has just put its own function there
        if fuzzing.over:
            fuzzing.tell()
            sys.stdout.flush()
            os._exit(0)  # libFuzzer has no other way to be told to stop after so much CPU
        fuzzing.one(data)

    folder = corpora.folder(harness)
    words = folder.parent / "dictionary"
    words.write_text(tokens.dictionary())
    # what holds for wiredoctor is measured by `mutants`: here the engine and what it follows have their share
    options = [
        *(f"-seed={seed}", f"-max_len={LONGEST[harness]}", "-timeout=600", "-rss_limit_mb=0", f"-dict={words}"),
        *("-reload=0", "-verbosity=0", f"-artifact_prefix={folder.parent}/"),
    ]  # fmt: skip
    own: dict[str, Any] = {"custom_mutator": _mutator(atheris)} if harness in OF_FILES else {}
    atheris.Setup([sys.argv[0], *options, str(folder)], one, **own)
    atheris.Fuzz()


PLAIN = frozenset((int, float, bool, str, bytes, type(None)))
COMPARE = (operator.lt, operator.le, operator.eq, operator.ne, operator.gt, operator.ge)


def _follow_only_plain(atheris: Any) -> None:
    """Keep atheris from comparisons of other objects: it never frees a result that is no bool, such as a column of Polars."""
    follow = atheris._trace_cmp

    def compare(one: Any, other: Any, how: int, *more: Any) -> Any:
        plain = type(one) in PLAIN and type(other) in PLAIN
        return follow(one, other, how, *more) if plain else COMPARE[how](one, other)

    atheris._trace_cmp = compare


def _load_all() -> None:
    """Every module, also those that are loaded when a capture needs them: what is loaded later is not followed."""
    import wiredoctor

    for module in pkgutil.walk_packages(wiredoctor.__path__, "wiredoctor."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def _mutator(atheris: Any) -> Callable[[bytes, int, int], bytes]:
    """Half the time what knows captures, half the time what knows coverage."""

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        random = Random(seed)
        if data and random.random() < 0.5:
            return mutators.mutate(data, random)[0][:longest]
        return atheris.Mutate(data, longest)

    return mutate


def by_hypothesis(harness: str, seconds: float, seed: int) -> None:
    """Without coverage: what hypothesis thinks of, and mutants of the corpus."""
    fuzzing = Fuzzing(harness, HARNESSES[harness](), seconds)
    random = Random(seed)
    seeds = sorted(corpora.folder(harness).iterdir())
    while not fuzzing.over:
        try_generated(fuzzing, random.randrange(1 << 32), 100)
        for _ in range(200 if seeds else 0):
            if fuzzing.over:
                break
            fuzzing.one(mutators.mutate(random.choice(seeds).read_bytes() or b"\0", random)[0][: LONGEST[harness]])
    fuzzing.tell()


def try_generated(fuzzing: Fuzzing, seed: int, number: int) -> None:
    """So many inputs of hypothesis' own engine."""
    import hypothesis
    from hypothesis import strategies as st

    every = list(hypothesis.HealthCheck)

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=number, database=None, deadline=None, suppress_health_check=every, phases=[hypothesis.Phase.generate]
    )
    @hypothesis.given(st.lists(st.one_of(st.binary(max_size=200), st.sampled_from(tokens.EVERY)), max_size=8).map(b"".join))
    def generate(data: bytes) -> None:
        if not fuzzing.over:
            fuzzing.one(data)

    generate()


def main() -> None:
    """Reads the words."""
    harness, engine, seconds, seed = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    (by_atheris if engine == "atheris" else by_hypothesis)(harness, seconds, seed)


if __name__ == "__main__":
    main()
