"""HTML reports as the tests read them: their elements, and the data at their end."""

from __future__ import annotations

import base64
import io
import json
import zlib
from html.parser import HTMLParser
from typing import Any

from wiredoctor.findings import Report
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


def page_data(page: str) -> dict[str, Any]:
    """Id -> value of the blocks of data."""
    blocks = [(about, text) for about, text in Page(page).raw if about.get("type") == "application/octet-stream"]
    return {str(about["id"]): json.loads(zlib.decompress(base64.b64decode(text), wbits=-15)) for about, text in blocks}


def words(column: dict[str, Any]) -> list[str]:
    """The texts of a column."""
    return [column["words"][at] for at in column["at"]]
