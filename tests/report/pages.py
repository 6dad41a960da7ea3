"""HTML reports as the tests read them: their elements, and the data at their end."""

from __future__ import annotations

import base64
import io
import itertools
import json
import zlib
from html.parser import HTMLParser
from typing import Any

import pytest

from wiredoctor.findings import Report, shorten
from wiredoctor.report import html

VOID = {"meta", "link", "br"}


def page_of(report: Report, **options: Any) -> str:
    """The page of a report."""
    out = io.BytesIO()
    html.write(report, out, **options)
    return out.getvalue().decode()


class Page(HTMLParser):
    """Elements as (name, attributes), text as it is read, and what each script and style holds."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.raw: list[tuple[dict[str, str | None], str]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            self.raw.append((self.elements[-1][1], data))
        else:
            self.said.append(data)

    @property
    def text(self) -> str:
        """What a reader reads, with single spaces."""
        return " ".join(" ".join(self.said).split())


def page_data(page: str | Page) -> dict[str, Any]:
    """Id -> value of the blocks of data."""
    read = page if isinstance(page, Page) else Page(page)
    blocks = [(about, text) for about, text in read.raw if about.get("type") == "application/octet-stream"]
    return {str(about["id"]): json.loads(zlib.decompress(base64.b64decode(text), wbits=-15)) for about, text in blocks}


def words(column: dict[str, Any]) -> list[str]:
    """The texts of a column."""
    return [column["words"][at] for at in column["at"]]


def check_page(page: str, said: dict[str, Any]) -> None:
    """The page of a report is whole, and holds what its JSON says (with every connection and exchange)."""
    read = Page(page)
    assert not read.unbalanced
    assert not read.open
    assert not [name for _, attributes in read.elements for name in attributes if name.startswith("on")]
    check_data(page_data(read)["data-report"], said)


def check_data(told: dict[str, Any], said: dict[str, Any]) -> None:
    """Findings, exchanges and connections of a page that has all of them are those of the JSON."""
    names = told["captures"]
    assert names == [c["file"] for c in said["captures"]]
    findings = told["findings"]
    for name in ("number", "elapsed", "delay", "count", "connection", "exchange", "status"):
        assert findings[name] == [f[name] for f in said["findings"]]
    for name in ("rule", "severity"):
        assert words(findings[name]) == [f[name] for f in said["findings"]]
    assert [names[at] for at in findings["capture"]] == [f["capture"] for f in said["findings"]]
    assert told["delay"] == said["summary"]["delay"]
    counts = {name: said["summary"][name] for name in ("exchanges", "connections")}
    assert told["of"] == {**counts, "findings": len(said["findings"])}
    exchanges = told["exchanges"]
    rows: dict[tuple[str, int, int], int] = {}
    for row, key in enumerate(zip(exchanges["capture"], exchanges["connection"], exchanges["exchange"], strict=True)):
        rows[names[key[0]], key[1], key[2]] = row
    targets = words(exchanges["request_target"])
    starts = [*itertools.accumulate(exchanges["start"])]
    assert len(rows) == len(said["exchanges"]) == said["summary"]["exchanges"]
    for one in said["exchanges"]:
        row = rows[one["capture"], one["connection"], one["index"]]
        for phase in ("request", "server", "response"):
            time = exchanges[f"{phase}_time"][row]
            assert (None if time is None else time / 1e9) == one["timing"][phase]
        request, response = one["request"], one["response"]
        assert exchanges["sides"][row] == bool(request) + 2 * bool(response)
        if request:
            assert targets[row] == shorten(request["target"], 500)
            assert (starts[row] + exchanges["request_at"][row]) / 1e9 == pytest.approx(request["start"], abs=1e-9)
            assert exchanges["request_frame"][row] == request["frame"]
        if response:
            assert exchanges["response_status"][row] == response["status"]
            assert exchanges["response_body_bytes"][row] == response["body_bytes"]
            assert (starts[row] + exchanges["response_at"][row]) / 1e9 == pytest.approx(response["start"], abs=1e-9)
    connections = told["connections"]
    columns = (connections["capture"], connections["connection"], connections["packets"], words(connections["client"]))
    shown = sorted((names[at], *rest) for at, *rest in zip(*columns, strict=True))
    assert shown == sorted((c["capture"], c["id"], c["packets"], c["client"]) for c in said["connections"])
