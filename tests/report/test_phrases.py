"""Sentences that all formats for people share."""

from __future__ import annotations

import io
import json
import re
from io import StringIO

import pytest

from tests.report.examples import finding, report
from tests.report.pages import Page, page_of
from wiredoctor.findings import Side
from wiredoctor.mcp.answers import Page as Rows
from wiredoctor.mcp.answers import diagnosis
from wiredoctor.report.data import json as report_json
from wiredoctor.report.terminal import markdown, text
from wiredoctor.report.terminal.sentences import change, product
from wiredoctor.report.terminal.terminal import Terminal
from wiredoctor.rule_engine import RuleModule, catalogue


@pytest.mark.parametrize(
    ("software", "name"),
    [
        ("curl/8.5.0", "curl/8.5.0"),
        ("Apache/2.4.7 (Ubuntu) PHP/5.5", "Apache/2.4.7"),
        ("Python/3.11 aiohttp/3.8.4", "Python/3.11"),
        ("Microsoft-IIS/7.5", "Microsoft-IIS/7.5"),
        ("Jetty(9.4.z-SNAPSHOT)", "Jetty(9.4.z-SNAPSHOT)"),
        ("Some Long Name Of A Product Without Any Version", "Some Long Name Of A...uct Without Any Version"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0", "Firefox/115.0"),
        ("Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/116.0.0.0 Safari/537.36", "Chrome/116.0.0.0"),
        ("Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/116.0.0.0 Safari/537.36 Edg/116.0", "Edg/116.0"),
        ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)", "MSIE 8.0"),
        ("Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko", "Trident/7.0"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Googlebot/2.1"),
        ("Mozilla/5.0", "Mozilla/5.0"),
    ],
)
def test_product(software: str, name: str) -> None:
    shown = product(software)
    assert len(shown) <= 40
    assert shown == name or "..." in name


def test_a_group_is_as_sure_as_the_finding_that_it_shows() -> None:
    """In the middle of its group, and neither the first nor the last, the worst one is medium."""
    alike = [
        finding(number=n, delay=delay, elapsed=float(n), confidence=sure)
        for n, (delay, sure) in enumerate([(0.1, "high"), (0.3, "medium"), (0.2, "low")], start=1)
    ]
    one, out, words, prose = report(alike), io.BytesIO(), StringIO(), io.BytesIO()
    report_json.write(one, out)
    text.write(one, words, Terminal(80))
    markdown.write(one, prose)
    by_number = {f["number"]: f["confidence"] for f in json.loads(out.getvalue())["findings"]}
    said = re.compile(r"(\w+) confidence.*?finding (\d+)", re.DOTALL)
    for form in (words.getvalue(), prose.getvalue().decode(), Page(page_of(one)).text):
        assert [(int(number), sure) for sure, number in said.findall(form)] == [(2, by_number[2])]
    [group] = diagnosis(one, Rows())["findings"]
    assert (group["worst_finding"], group["confidence"]) == (2, by_number[2])


@pytest.mark.parametrize(
    ("side", "remedy", "heading"),
    [
        ("server", "Have the server send Content-Length with the response.", "What to do on the server"),
        ("server", "Have the program that sets Content-Length count bytes.", "What to do on the server"),
        ("client", "Turn preemptive authentication on in the client.", "What to do on the client"),
        (None, "Capture on both sides of each suspect at once.", "What to do"),
        ("client", "Have the server say Connection: close. Have the client repeat requests.", "What to do"),
        ("client", "Have the client send its body, or have the server answer 100 (Continue).", "What to do"),
        ("client", "Make the client's timeout shorter, or the server's longer.", "What to do"),
        ("server", "Have the gateway forward the upgrade.", "What to do"),
        ("server", "Have both sides use version 13.", "What to do"),
        ("client", "Nothing has to change: no user was kept waiting.", "What to do"),
    ],
)
def test_the_heading_of_a_remedy_names_a_side_only_if_no_other_has_to_act(side: Side | None, remedy: str, heading: str) -> None:
    assert change(finding(side=side, remedy=remedy)) == heading


@pytest.mark.parametrize("module", catalogue().values(), ids=lambda module: module.name)
def test_no_remedy_under_the_heading_of_one_side_lets_the_other_act(module: RuleModule) -> None:
    remedies = [module.rule.remedy] if isinstance(module.rule.remedy, str) else [*module.rule.remedy.values()]
    for side, other in (("client", "server"), ("server", "client")):
        for remedy in remedies:
            said = remedy.replace("{side}", side)
            if change(finding(side=side, remedy=said)) != "What to do":
                assert re.search(rf"\blet (the |an? )?({other}|gateway|both)\b", said, re.IGNORECASE) is None
