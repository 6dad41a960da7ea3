"""The recipes of docs/pages/recipes.md run on the files that they name, and find something."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import wiredoctor
from tests.support.needs import skip_without
from wiredoctor.cli.folders import write_tables

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "pages" / "recipes.md").read_text("utf-8")
CAPTURES = re.findall(r"captures/\S+\.pcap", PAGE.partition("## ")[0])
SQL, PYTHON = (re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) for language in ("sql", "python"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which there are tables/."""
    made = tmp_path_factory.mktemp("recipes")
    write_tables(wiredoctor.analyze(*(ROOT / name for name in CAPTURES), keep=True), made / "tables", "parquet")
    return made


def test_there_are_recipes() -> None:
    assert (len(CAPTURES), len(SQL), len(PYTHON)) == (2, 5, 4)


@pytest.mark.parametrize("query", SQL, ids=lambda query: query[:40])
def test_duckdb(folder: Path, monkeypatch: pytest.MonkeyPatch, query: str) -> None:
    skip_without("package duckdb")
    import duckdb

    monkeypatch.chdir(folder)
    assert duckdb.sql(query).fetchall()


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code[:40])
def test_python(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    for library in re.findall(r"^import (\w+)", code, re.MULTILINE):
        skip_without(f"package {library}")
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(names["result"])
