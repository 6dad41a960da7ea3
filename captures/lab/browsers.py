"""Record a browser and a load generator: clients that open several connections at once and choose the order of their requests."""

from __future__ import annotations

import os
import shutil

from impairments import Conditions
from scenario import LAST_YEAR, PEERS, Connection, Find, Lab, get, nginx, recording, site
from stacks import V4, caddy, chromium, go_server, lighttpd

PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><!-- {} --><circle cx="20" cy="20" r="{}"/></svg>\n'
CODE, STYLE = "// code\n" * 2_000, "/* style */\n" * 700
PICTURES = {f"{number}.svg": PICTURE.format("p" * number * 500, number) for number in range(1, 9)}


TYPES = "types { text/html html; text/css css; text/javascript js; image/svg+xml svg; }"


def page(lab: Lab) -> None:
    """Write a page, a style sheet, a script and eight pictures into the folder that servers serve."""
    root = site(lab)
    shutil.copyfile(PEERS / "page.html", root / "page.html")
    for name, content in {"code.js": CODE, "style.css": STYLE, **PICTURES}.items():
        (root / name).write_text(content)
    for file in root.iterdir():
        os.utime(file, (LAST_YEAR, LAST_YEAR))


PARTS = {"/code.js": len(CODE), "/style.css": len(STYLE), **{f"/{name}": len(text) for name, text in PICTURES.items()}}
PAGE = (
    get("/page.html", (PEERS / "page.html").stat().st_size),
    *(get(path, size) for path, size in PARTS.items()),
)
LOADED = (Connection(PAGE),)
BROWSED = {
    "client-abort": "the browser had all it wanted",
    "no-connection-reuse": "connections are kept, and some are spare",
    "no-response": "a spare connection has no request",
}


@recording(
    title="Chromium and nginx: a page with a style sheet, a script and eight pictures",
    at="client",
    software=("chromium", "nginx"),
    connections=LOADED,
    spread=True,
    must_not=BROWSED,
)
def chromium_nginx(lab: Lab) -> None:
    """Headless Chromium loads a page and its resources over as many connections as it chooses, and ends."""
    page(lab)
    nginx(lab, TYPES)
    chromium(lab.client, lab.folder, "http://10.9.0.2/page.html")


@recording(
    title="Chromium and Caddy over a round trip of 20 ms; IPv6",
    at=("client", "middle", "server"),
    software=("chromium", "caddy"),
    connections=LOADED,
    spread=True,
    must_not=BROWSED,
    wire=Conditions(0.010),
)
def chromium_rtt_20(lab: Lab) -> None:
    """The page of chromium-nginx from Caddy; one visit, captured at the client, in the middle and at the server. Over IPv6."""
    page(lab)
    caddy(lab)
    chromium(lab.client, lab.folder, "http://[fd00:9::2]/page.html")


@recording(
    title="Chromium and lighttpd over a round trip of 120 ms",
    at="server",
    software=("chromium", "lighttpd"),
    connections=LOADED,
    spread=True,
    must_not=BROWSED,
    wire=Conditions(0.060),
)
def chromium_rtt_120(lab: Lab) -> None:
    """The page of chromium-nginx from lighttpd."""
    page(lab)
    lighttpd(lab, 'mimetype.assign += (".css" => "text/css", ".js" => "text/javascript", ".svg" => "image/svg+xml")')
    chromium(lab.client, lab.folder, "http://10.9.0.2/page.html")


ABORTED = (Find("client-abort", "stopped", "client", 3, note=True),)
"""One finding for the three connections that end together. wrk opens the first connection as a trial, before its clock starts."""


@recording(
    title="wrk and Go: three connections at full speed over a round trip of 20 ms, until the time is up",
    at="server",
    software=("wrk", "go"),
    connections=(Connection((get("/bytes/200", 200),)),),
    spread=True,
    finds=ABORTED,
    must_not={"truncated-response": "it is the client that leaves", "no-response": "it is the client that leaves"},
    wire=Conditions(0.010),
)
def wrk_rtt_20(lab: Lab) -> None:
    """wrk keeps three connections busy for a second and then closes them. The last response of each is on the wire when the
    client's FIN is sent, and is answered with a reset."""
    go_server(lab)
    lab.client.run("wrk", "-t", "1", "-c", "3", "-d", "1s", f"{V4}/bytes/200")
