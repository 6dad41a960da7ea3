"""Record pages whose sub-resources wait for the end of the page, and the fix, with node and a client that acts like a browser."""

from __future__ import annotations

import sys

from everywhere import everywhere
from scenario import PEERS, Connection, Find, Lab, get, recording
from stacks import chromium

PAGE_BYTES, ASSET_BYTES = 852, 500
NO_ICON = 32
"""The additional bytes of a page for a real browser."""

PAGE = "http://10.9.0.2:8080/page/800"
ASSETS = tuple(Connection((get(f"/asset/50/{name}", ASSET_BYTES),)) for name in ("style.css", "script.js"))
CHUNKED, UNFRAMED = {"response_framing": "chunked"}, {"response_framing": "close-delimited"}


def page_server(lab: Lab, *options: str) -> None:
    """Start peers/node_pages.js on port 8080 of the server, and send it one uncaptured request, because the first response is
    slow.
    """
    lab.server.serve(8080, "node", str(PEERS / "node_pages.js"), "8080", *options)
    lab.server.run("curl", "-sS", "http://127.0.0.1:8080/page/1/flushed")


@everywhere(
    title="A page arrives in one piece after 800 ms, and its sub-resources are fetched only then",
    software=("node", "python"),
    connections=(Connection((get("/page/800/whole", PAGE_BYTES),), closed_by=None), *ASSETS),
    finds=(Find("late-flush", None, "server", note=True),),
    must_not={"slow-response": "it took less than a second", "no-connection-reuse": "the sub-resources overlap"},
)
def page_whole(lab: Lab, _: float) -> None:
    """node writes the page when all of it is ready. The resources named in its head are requested when the page has arrived: a
    style sheet and a script, at the same time."""
    page_server(lab)
    lab.client.run(sys.executable, str(PEERS / "browser.py"), f"{PAGE}/whole")


@everywhere(
    title="The head of a page is flushed at once, and its sub-resources are fetched while the server works on the page",
    software=("node", "python"),
    connections=(Connection((get("/page/800/flushed", PAGE_BYTES, **CHUNKED),), closed_by=None), *ASSETS),
    must_not={"late-flush": "the sub-resources overlap with the page", "unchunked-streaming": "it is chunked"},
)
def page_flushed(lab: Lab, _: float) -> None:
    """The fix for page-whole: node writes the head of the page as its first chunk and the rest 800 ms later."""
    page_server(lab)
    lab.client.run(sys.executable, str(PEERS / "browser.py"), f"{PAGE}/flushed")


@recording(
    title="Keep-alive is off, and a page is flushed but not chunked",
    at="client",
    software=("node", "python"),
    connections=(
        Connection((get("/page/800/flushed", PAGE_BYTES, **UNFRAMED),), closed_by=None),
        *(Connection(asset.exchanges, closed_by=None) for asset in ASSETS),
    ),
    finds=(Find("unchunked-streaming", None, "server", 0),),
    must_not={
        "late-flush": "the sub-resources overlap with the page",
        "premature-close": "closes were announced",
        "keep-alive-disabled": "all requests are side by side",
    },
)
def page_keep_alive_off(lab: Lab) -> None:
    """A server with keep-alive turned off sends Connection: close with every response, and neither chunks nor a length. IIS 7.5
    behaves like this, but does not run here, so node imitates it. The browser reads until the close, and requests the
    sub-resources when the flushed part arrives."""
    page_server(lab, "close")
    lab.client.run(sys.executable, str(PEERS / "browser.py"), f"{PAGE}/flushed")


def _visit(how: str, **framing: str) -> tuple[Connection, ...]:
    """Request the page and its sub-resources, on as many connections as a browser would use."""
    page = get(f"/page/800/{how}/visited", PAGE_BYTES + NO_ICON, **framing)
    return (Connection((page, *(one for asset in ASSETS for one in asset.exchanges))),)


@recording(
    title="Chromium waits for a page that arrives in one piece after 800 ms, and only then fetches its sub-resources",
    at="client",
    software=("chromium", "node"),
    connections=_visit("whole"),
    spread=True,
    finds=(Find("late-flush", None, "server", note=True),),
    must_not={"slow-response": "it took less than a second", "no-response": "a spare connection has no request"},
)
def chromium_page_whole(lab: Lab) -> None:
    """Like page-whole, with a real browser."""
    page_server(lab)
    chromium(lab.client, lab.folder, f"{PAGE}/whole/visited")


@recording(
    title="Chromium fetches the sub-resources of a page as soon as the head of the page is flushed",
    at="client",
    software=("chromium", "node"),
    connections=_visit("flushed", **CHUNKED),
    spread=True,
    must_not={"late-flush": "the sub-resources overlap with the page", "unchunked-streaming": "it is chunked"},
)
def chromium_page_flushed(lab: Lab) -> None:
    """The fix for chromium-page-whole."""
    page_server(lab)
    chromium(lab.client, lab.folder, f"{PAGE}/flushed/visited")
