"""A page as Chromium shows it, read back from its elements: findings, counts and delays are those of the report's JSON."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.report.chromium import PATIENCE, opened
from tests.report.counted import true_of_all
from wiredoctor.findings import shorten
from wiredoctor.text.durations import duration_text

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Parsed = dict[str, Any]

READ = """async (patience) => {
  const all = (node, what) => [...node.querySelectorAll(what)];
  const text = (node) => (node ? node.textContent.replace(/\\s+/g, ' ').trim() : '');
  // so high that no row is out of sight
  for (const one of document.querySelectorAll('#exchanges-table .scroll, #connections-table .scroll')) {
    one.style.maxHeight = one.style.height = `${one.firstChild.getAttribute('aria-rowcount') * 28 + 60}px`;
    one.dispatchEvent(new Event('scroll'));
  }
  const missing = () => all(document, 'table[role=grid]')
    .filter((one) => all(one, 'tr[aria-rowindex]').length + 1 < one.getAttribute('aria-rowcount')).length;
  const begin = performance.now();
  while (missing() && performance.now() - begin < patience) await new Promise((done) => setTimeout(done, 10));
  const rows = (id) => {
    const heads = all(document, `#${id} thead th`).map((one) => one.getAttribute('aria-label') || one.textContent);
    const said = (cell) => (cell.querySelector('canvas') || cell).getAttribute('aria-label') ?? cell.textContent;
    return all(document, `#${id} tbody tr[aria-rowindex]`).map((row) =>
      Object.fromEntries(heads.map((head, at) => [head, said(row.cells[at])])));
  };
  const frames = (node) => all(node, ':scope > details.words tbody tr').map((row) => Number(row.cells[0].textContent));
  const numbers = (words) => [...words.matchAll(/\\d+/g)].map((found) => Number(found[0]));
  const other = (one) => ({
    about: text(one.querySelector('summary') || one),
    frames: one.matches('details') ? frames(one) : numbers(one.querySelector('.dim').textContent),
  });
  return {
    lead: text(document.querySelector('.lead')),
    counts: all(document, '#exchanges-table .said, #connections-table .said').map(text),
    findings: all(document, 'article.finding').map((one) => ({
      severity: text(one.querySelector('.badge')), title: text(one.querySelector('h2')),
      extent: text(one.querySelector('.extent')),
      meta: [...one.querySelector('.meta').childNodes].map(text).filter(Boolean), frames: frames(one.querySelector('.evidence')),
      others: all(one, '.others > .other').map(other),
    })),
    exchanges: rows('exchanges-table'), connections: rows('connections-table'),
  };
}"""
"""What somebody reads who goes through the whole page."""

SECOND = 1_000_000_000
PHASES = ("request", "server", "response")


def check_drawn(chromium: Browser, page: Path, said: Parsed) -> None:
    """said: the whole JSON of the report, of several captures, of which the page has all."""
    with opened(chromium, page) as one:
        shown = one.eval(READ, PATIENCE * 1000)
        assert one.complaints == []
        assert [url for url in one.requests if not url.startswith("data:")] == [page.as_uri()]
    counts = [f"{said['summary'][name]:,} {name}" for name in ("exchanges", "connections")]
    assert shown["counts"] == counts
    assert shown["lead"].startswith(f"{said['summary']['connections']:,} TCP connections, ")
    names = _short([c["file"] for c in said["captures"]])
    _check_findings(shown["findings"], said["findings"], said["exchanges"])
    _check_exchanges(shown["exchanges"], said, names)
    _check_connections(shown["connections"], said, names)


def _short(names: list[str]) -> dict[str, str]:
    """Captures as tables name them: without the folder that they are all in."""
    folder = os.path.commonpath([os.path.dirname(name) for name in names])
    return {name: os.path.relpath(name, folder) for name in names}


def _lasts(seconds: float) -> str:
    return duration_text(round(seconds * SECOND))


def _check_findings(shown: list[Parsed], findings: list[Parsed], exchanges: list[Parsed]) -> None:
    """Each is there once, with its rule, severity and frames, and with when its request began; delays and counts are told of each
    group, and of each in it."""
    place = ("capture", "connection")
    requested = {(*(one[name] for name in place), one["index"]): one["request"] for one in exchanges}
    by_number = {f["number"]: f for f in findings}
    seen: list[int] = []
    for group in shown:
        standing, *places = group["meta"]
        [worst] = [
            int(found[1]) for place in places if (found := re.match(r"(?:(?:worst|first) of [\d,]+: )?finding (\d+)", place))
        ]
        others = [int(re.search(r"finding (\d+)", other["about"])[1]) for other in group["others"]]  # type: ignore[index]
        here = [by_number[number] for number in (worst, *others)]
        seen += [worst, *others]
        first = here[0]
        assert true_of_all(group["title"], [one["title"] for one in here])
        assert group["frames"] == _frames(first)
        rule = f"{first['rule']} ({first['kind']})" if first["kind"] else first["rule"]
        assert standing.startswith(f"{rule}, {first['confidence']} confidence")
        assert first["capture"] in places
        assert first["delay"] == max((f["delay"] for f in here), key=lambda delay: delay or 0)
        for one, other in zip(here[1:], group["others"], strict=True):
            assert (one["rule"], one["kind"], one["server"]) == (first["rule"], first["kind"], first["server"])
            assert other["frames"] == _frames(one)
            request = requested.get((*(one[name] for name in place), one["exchange"]))
            began = one["elapsed"] if request is None or request["start"] is None else request["start"]
            assert other["about"].startswith(f"{began:.6f} s finding {one['number']}")
            assert not one["delay"] or f", {_lasts(one['delay'])}" in other["about"]
        assert {one["severity"] for one in here} == {group["severity"]}
        count, delay = len(here), sum(f["delay"] or 0 for f in here)
        said = [f"{count:,} times", f"{_lasts(delay)} lost"] if count > 1 else [_lasts(delay)]
        in_all = ", ".join(said if delay else said[:-1])
        assert group["extent"] == in_all or (count == 1 and group["extent"] == "" and in_all in group["title"])
    assert sorted(seen) == sorted(by_number)


def _frames(finding: Parsed) -> list[int]:
    return [e["frame"] for e in finding["evidence"]]


def _check_exchanges(rows: list[Parsed], said: Parsed, names: dict[str, str]) -> None:
    """Their requests, their times phase by phase, and how many findings speak of each."""
    found: dict[tuple[Any, ...], list[Parsed]] = defaultdict(list)
    for finding in said["findings"]:
        found[finding["capture"], finding["connection"], finding["exchange"]].append(finding)
    wanted: list[Parsed] = []
    for one in said["exchanges"]:
        request, response = one["request"], one["response"]
        start = min(message["start"] for message in (request, response) if message)
        end = max((message["end"] for message in (request, response) if message and message["end"] is not None), default=start)
        of = found[one["capture"], one["connection"], one["index"]]
        phases = [
            f"{name} {_lasts(one['timing'][name])}"
            for name in ("request", "server", "response")
            if one["timing"][name] is not None
        ]
        waited = one["response_wait"]
        took = end - start if waited is None else waited
        if waited is not None:
            final = response and response["status"] and response["status"] >= 200
            began = next((m["end"] for m in (response, request) if m and m["end"] is not None), start)
            phases.append(f"waiting for {'the rest' if final else 'a response'} {_lasts(start + waited - began)}")
        phases += [f"{f['rule']} {_lasts(f['delay'])}" for f in of if f["delay"]]
        wanted.append({
            "Start": f"{start:.6f}", "Capture": names[one["capture"]], "Exch": f"{one['connection']}#{one['index']}",
            "Request": f"{shorten(request['method'], 80)} {shorten(request['target'], 500)}" if request else "(no request)",
            "Status": str(response["status"] or "-") if response else "-",
            "Time": _lasts(took) if response or waited else "-", "Findings": f"! {len(of)}" if of else "", "Waterfall": phases,
        })  # fmt: skip
    shown = [{name: row[name] for name in wanted[0]} for row in rows] if wanted else rows
    for row in shown:
        # requests of gateways are indented below those of their clients
        row["Request"] = re.sub("^\u00a0*\u2514 ", "", row["Request"])
        # JSON does not tell how long it took to connect, nor what ended a wait
        row["Waterfall"] = [
            phase.removesuffix(" at the end of the capture")
            for phase in row["Waterfall"].split(", ")
            if phase and phase != "then closed" and not phase.startswith("connect ")
        ]
        row["Time"] = row["Time"].removeprefix(">")
    _same(shown, wanted, "Capture", "Exch")


def _check_connections(rows: list[Parsed], said: Parsed, names: dict[str, str]) -> None:
    exchanges: dict[tuple[str, int], int] = defaultdict(int)
    for one in said["exchanges"]:
        exchanges[one["capture"], one["connection"]] += 1
    findings: dict[tuple[str, int | None], int] = defaultdict(int)
    for finding in said["findings"]:
        findings[finding["capture"], finding["connection"]] += 1
    wanted = [
        {
            "Capture": names[one["capture"]], "Id": str(one["id"]), "Client": one["client"], "Server": one["server"],
            "Packets": f"{one['packets']:,}", "Time": _lasts(one["end"] - one["start"]),
            "Exch": f"{exchanges[one['capture'], one['id']]:,}",
            "Findings": f"! {findings[one['capture'], one['id']]}" if findings[one["capture"], one["id"]] else "",
        }
        for one in said["connections"]
    ]  # fmt: skip
    _same([{name: row[name] for name in wanted[0]} for row in rows] if wanted else rows, wanted, "Capture", "Id")


def _same(shown: list[Parsed], wanted: list[Parsed], *keys: str) -> None:
    def order(row: Parsed) -> tuple[str, ...]:
        return tuple(row[key] for key in keys)

    for one, other in zip(sorted(shown, key=order), sorted(wanted, key=order), strict=True):
        assert one == other
