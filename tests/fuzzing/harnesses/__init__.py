"""A harness per door: a function of any bytes, which raises where something does not hold that always must."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

Run = Callable[[bytes], Any]

NAMES = ("capture", "core", "decode", "tcp", "http", "whole", "parsers")


def _loader(name: str) -> Callable[[], Run]:
    def load() -> Run:
        return import_module(f"tests.fuzzing.harnesses.{name}").run

    return load


HARNESSES: dict[str, Callable[[], Run]] = {name: _loader(name) for name in NAMES}
"""Name -> what loads it: the engine may want to instrument what is imported then."""
