"""What mkdocs does not know of this project: where a link out of the pages leads, and which rules there are.

On GitHub a page links to a capture or to code by its path in the repository. The site has no such files, so there the same link
leads to the repository.
"""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "pages"

BEFORE_RELATIVE = 5
"""mkdocs resolves links at priority 0, and warns of those that leave the pages."""

LISTED = re.compile(r"^\| ([a-z-]+) \| \[`([a-z0-9-]+)`\]\(([a-z0-9-]+\.md)\) \|", re.MULTILINE)
"""A rule in rules/README.md: family, name, page."""


class _Outward(Treeprocessor):
    """Turns links to files beside the pages into links to the repository."""

    page: Path = PAGES
    repository: str = ""

    def run(self, root: Element) -> None:
        for link in root.iter("a"):
            link.set("href", outward(link.get("href", ""), self.page, self.repository))


class _Links(Extension):
    """The same object for all pages: mkdocs makes a Markdown for each, after it has told which page comes."""

    def __init__(self) -> None:
        super().__init__()
        self.outward = _Outward()

    def extendMarkdown(self, md: Markdown) -> None:
        md.treeprocessors.register(self.outward, "outward", BEFORE_RELATIVE)


_links = _Links()


def outward(target: str, page: Path, repository: str) -> str:
    """The URL of a file of the project that is not among the pages; any other target as it is.

    `page`: the file in which the link stands. A file that does not exist stays as it is too: mkdocs says so.
    """
    path, anchor = urldefrag(target)
    if not path or re.match(r"[a-z]+:|/", path):
        return target
    file = (page.parent / path).resolve()
    if file.is_relative_to(PAGES) or not file.is_relative_to(ROOT) or not file.exists():
        return target
    # a capture is there to be fetched, everything else to be looked at
    kind = "tree" if file.is_dir() else "raw" if ".pcap" in file.name else "blob"
    return f"{repository.rstrip('/')}/{kind}/main/{file.relative_to(ROOT).as_posix()}" + (f"#{anchor}" if anchor else "")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Before anything is read."""
    _links.outward.repository = config.repo_url or ""
    config.markdown_extensions.append(_links)
    config.nav = [_with_rules(entry) for entry in config.nav or []]
    return config


def _with_rules(entry: Any) -> Any:
    """The list of rules becomes a section: itself, and a section per family."""
    ((title, page),) = entry.items()
    if page != "rules/README.md":
        return entry
    rules = LISTED.findall((PAGES / page).read_text("utf-8"))
    families = groupby(rules, key=lambda rule: rule[0])
    return {title: [page, *({family: [{name: f"rules/{file}"} for _, name, file in some]} for family, some in families)]}


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Before a page is rendered."""
    _links.outward.page = PAGES / page.file.src_uri
    return markdown
