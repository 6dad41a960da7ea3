"""The site that mkdocs makes of docs/pages: whole, the same text as on GitHub, and readable without any network."""

from __future__ import annotations

import importlib.util
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from markdown_it import MarkdownIt

from tests.report.chromium import browser, opened
from wiredoctor.rule_engine import catalogue

pytest.importorskip("material", reason="not installed: package material")  # pip install '.[docs]'

from mkdocs.commands.build import build
from mkdocs.config import load_config

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "pages"
BLOCKS = {"li", "td", "th", "pre", "h1", "h2", "h3", "ol", "ul", "code", "em", "strong"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site; building it fails on whatever mkdocs would only warn of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        config = load_config(str(ROOT / "docs" / "mkdocs.yml"), strict=True, site_dir=str(tmp_path_factory.mktemp("site")))
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
    return Path(config.site_dir)


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """docs/hooks.py, which is no package."""
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Outline(HTMLParser):
    """The text of each block of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.blocks: list[tuple[str, list[str]]] = []
        self._open: list[tuple[str, list[str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in BLOCKS:
            self._open.append((tag, []))
            self.blocks.append(self._open[-1])

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        for _, text in self._open:
            text.append(data)

    def words(self) -> list[tuple[str, str]]:
        """(tag, text with single spaces) of each block."""
        return [(tag, " ".join("".join(text).replace("¶", "").split())) for tag, text in self.blocks]


def made(site: Path, page: Path) -> str:
    """What a page has become."""
    path = page.relative_to(PAGES)
    return (site / (path.with_name("index.html") if page.name == "README.md" else path.with_suffix(".html"))).read_text("utf-8")


@pytest.mark.slow
def test_a_page_reads_as_on_github(site: Path) -> None:
    """mkdocs and GitHub do not read Markdown alike: lists in lists, and code that begins in one, are where they differ."""
    github = MarkdownIt("gfm-like", {"linkify": False})
    for page in sorted(PAGES.rglob("*.md")):
        (article,) = re.findall(r"<article[^>]*>(.*?)</article>", made(site, page), re.DOTALL)
        here, there = Outline(article).words(), Outline(github.render(page.read_text("utf-8"))).words()
        assert here == there, page.relative_to(ROOT)


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        fetched = re.findall(r"<(?!a\b)[^>]*\b(?:src|href)=\"?((?:https?:)?//[^\"\s>]*)", text)
        assert not fetched, page.name
        assert 'data-md-component="source"' not in text, "the theme's script asks GitHub for the stars of the repository"
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//", sheet.read_text("utf-8")), sheet.name


def test_links_out_of_the_pages_lead_to_files_of_the_repository(site: Path) -> None:
    targets = {
        t for p in site.rglob("*.html") for t in re.findall(r"/wiredoctor/(?:blob|raw|tree)/main/([^\"#]+)", p.read_text("utf-8"))
    }
    assert "captures/stalls/server-head-body-split.pcap" in targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.parametrize(
    ("target", "there"),
    [
        ("../../../captures/stalls/refused.pcap", "https://host/us/it/raw/main/captures/stalls/refused.pcap"),
        ("../../../captures/README.md#lab", "https://host/us/it/blob/main/captures/README.md#lab"),
        ("../../../wiredoctor", "https://host/us/it/tree/main/wiredoctor"),
        ("../limits.md#rules", None),
        ("../../../captures/nosuch.pcap", None),
        ("../../../../elsewhere", None),
        ("https://example.org/../../../captures", None),
        ("#what-it-means", None),
    ],
)
def test_a_link_leads_out_only_to_what_is_there(hooks: ModuleType, target: str, there: str | None) -> None:
    assert hooks.outward(target, PAGES / "rules" / "encrypted.md", "https://host/us/it/") == (there or target)


def test_every_rule_is_found_by_its_name(site: Path) -> None:
    found = json.loads((site / "search" / "search_index.json").read_text("utf-8"))["docs"]
    assert {f"rules/{rule}.html" for rule in catalogue()} <= {entry["location"] for entry in found}
    menu = made(site, PAGES / "rules" / "README.md")
    assert [rule for rule in catalogue() if f'href="{rule}.html"' not in menu] == []


@pytest.mark.slow
def test_it_is_searched_without_server_and_network(site: Path) -> None:
    with browser() as chromium, opened(chromium, site / "index.html", ready=False, color_scheme="dark") as page:
        assert page.eval("document.body.dataset.mdColorScheme") == "slate"
        page.tab.click("input[name=query]")
        page.tab.keyboard.type("delayed ack")
        page.tab.wait_for_selector(".md-search-result__link[href*='rules/nagle-delayed-ack.html']", timeout=20_000)
        page.tab.goto((site / "rules" / "nagle-delayed-ack.html").as_uri())
        assert page.eval("document.querySelector('article img').naturalWidth") > 800
        assert [url for url in page.requests if not url.startswith("file:")] == []
        assert page.complaints == []
