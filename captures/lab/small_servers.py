"""Record lighttpd, Caddy and PHP's built-in server: pages, ranges, redirects, compression, and closes by PHP."""

from __future__ import annotations

from impairments import Conditions
from scenario import SEEN, Connection, Exchange, Find, Lab, curl, get, raw_client, recording
from stacks import V4, caddy, gets, lighttpd, node_fetch, php, python_client
from static_servers import FOUR, SIZES, URLS

PATHS = [f"/{name}.txt" for name in SIZES]
SIX = "http://[fd00:9::2]"
AGAIN = ["--next", "-sS", "-o", "/dev/null"]
EVERYWHERE = ("client", "middle", "server")


@recording(
    title="lighttpd and Wget: four GETs on one connection; IPv6",
    at="client",
    software=("lighttpd", "wget"),
    connections=(Connection(FOUR),),
)
def lighttpd_wget(lab: Lab) -> None:
    """One wget command with four URLs of 300 bytes to 12 kB. Recorded over IPv6."""
    lighttpd(lab, **SIZES)
    lab.client.run("wget", "-q", "-O", "/dev/null", *[SIX + path for path in PATHS])


@recording(
    title="lighttpd and curl: range requests (one that cannot be satisfied, one with two ranges), HEAD and 304",
    at="server",
    software=("lighttpd", "curl"),
    connections=(
        Connection(
            (
                Exchange("GET", "/d.txt", 206, 100),
                Exchange("GET", "/d.txt", 206, 2_345),
                Exchange("GET", "/d.txt", 206, SEEN),
                Exchange("GET", "/d.txt", 416, SEEN),
                Exchange("HEAD", "/d.txt", 200, 0, "none"),
                get("/d.txt", 12_345),
                Exchange("GET", "/d.txt", 304, 0, "none"),
            )
        ),
    ),
    must_not={"truncated-response": "a part was asked for", "body-not-allowed": "HEAD and 304 have none"},
)
def lighttpd_ranges(lab: Lab) -> None:
    """On one connection, curl requests the first 100 bytes of a page of 12,345 bytes, everything from byte 10,000 on, two parts
    at once, bytes after its end, its head, all of it, and all of it if it has changed."""
    lighttpd(lab, **SIZES)
    page, tag = "http://10.9.0.2/d.txt", str(lab.folder / "etag")
    ranges = [word for part in ("0-99", "10000-", "0-9,1000-1999", "99999-") for word in ("-r", part, page, *AGAIN)]
    curl(lab, *ranges, "-I", page, *AGAIN, "--etag-save", tag, page, *AGAIN, "--etag-compare", tag, page)


@recording(
    title="lighttpd and httpx over a round trip of 20 ms",
    at=EVERYWHERE,
    software=("lighttpd", "httpx"),
    connections=(Connection((*FOUR, get("/e.txt", 30_000))),),
    wire=Conditions(0.010),
)
def lighttpd_rtt_20(lab: Lab) -> None:
    """Five GETs of an httpx.Client on one connection, the last of 30 kB; one conversation, captured at the client, in the middle
    and at the server."""
    lighttpd(lab, **SIZES, e=30_000)
    python_client(lab, "httpx", gets(*PATHS, "/e.txt"), "http://10.9.0.2")


@recording(
    title="lighttpd and pipelined requests, with a HEAD and a 404; IPv6",
    at="client",
    software=("lighttpd", "python"),
    connections=(
        Connection(
            (
                get("/a.txt", 300),
                Exchange("GET", "/nothing", 404, SEEN),
                Exchange("HEAD", "/c.txt", 200, 0, "none"),
                get("/b.txt", 1_447),
            )
        ),
    ),
    unassembled=True,
)
def lighttpd_pipelined(lab: Lab) -> None:
    """A hand-written client writes four requests in one send and then reads the four responses. Recorded over IPv6."""
    lighttpd(lab, **SIZES)
    pipeline(lab, ["GET /a.txt", "GET /nothing", "HEAD /c.txt", "GET /b.txt"], 80)


def pipeline(lab: Lab, lines: list[str], port: int = 8080) -> None:
    """Write these requests to the server's IPv6 address in one send, and read as many responses."""
    batch = "".join(f"{line} HTTP/1.1\r\nHost: example.test\r\n\r\n" for line in lines)
    steps = [[batch, {"read": [line.split(" ")[0] for line in lines]}, 0.02]]
    raw_client(lab, steps, port, address=lab.server.address6)


@recording(
    title="Caddy and node's fetch: pages compressed on the way",
    at="client",
    software=("caddy", "undici"),
    connections=(
        Connection(
            (
                get("/a.txt", 300),
                get("/c.txt", SEEN),
                get("/e.txt", SEEN, response_framing="chunked"),
                get("/f.txt", SEEN, response_framing="chunked"),
            )
        ),
    ),
)
def caddy_gzip(lab: Lab) -> None:
    """node's fetch asks for gzip, and Caddy compresses what is larger than 512 bytes: a page of 300 bytes stays as it is, one of
    5 kB has a new Content-Length, pages of 800 and 900 kB are chunked."""
    caddy(lab, "encode gzip", **SIZES, e=800_000, f=900_000)
    node_fetch(lab, gets("/a.txt", "/c.txt", "/e.txt", "/f.txt"), "http://10.9.0.2")


@recording(
    title="Caddy and curl: a download of 300 kB over a round trip of 120 ms; recorded with a snap length of 400 bytes",
    at="server",
    software=("caddy", "curl"),
    connections=(Connection((get("/a.txt", 300), get("/large.txt", 300_000))),),
    wire=Conditions(0.060),
    options=("-s", "400"),
    whole=False,
)
def caddy_download_rtt_120(lab: Lab) -> None:
    """Slow start: bursts of segments with a round trip between them, each larger than the one before."""
    caddy(lab, **SIZES, large=300_000)
    curl(lab, URLS[0], "http://10.9.0.2/large.txt")


@recording(
    title="Caddy and curl -L: redirects of every kind; IPv6",
    at="server",
    software=("caddy", "curl"),
    connections=(
        Connection(
            tuple(
                exchange
                for code in (301, 302, 307, 308)
                for exchange in (Exchange("GET", f"/old/{code}", code, 0), get("/a.txt", 300))
            )
        ),
    ),
)
def caddy_redirects(lab: Lab) -> None:
    """curl follows four redirects, each on the connection on which it came. Recorded over IPv6."""
    caddy(lab, "\n".join(f"    redir /old/{code} /a.txt {code}" for code in (301, 302, 307, 308)), **SIZES)
    curl(lab, "-L", *[f"{SIX}/old/{code}" for code in (301, 302, 307, 308)])


CLOSES = {"premature-close": "every response says Connection: close"}


@recording(
    title="PHP's built-in server and Wget: two pages, each with Connection: close",
    at="client",
    software=("php", "wget"),
    connections=(Connection((get("/bytes/3000", 3_000),), closed_by=None, repeat=2),),
    must_not={**CLOSES, "keep-alive-disabled": "two are too few to say so"},
)
def php_two_pages(lab: Lab) -> None:
    """PHP's built-in server sends `Connection: close` in every response, and closes."""
    php(lab)
    lab.client.run("wget", "-q", "-O", "/dev/null", *[f"{V4}/bytes/3000"] * 2)


@recording(
    title="PHP's built-in server never keeps a connection",
    at="client",
    software=("php", "urllib3"),
    connections=(Connection((get("/bytes/3000", 3_000),), closed_by=None, repeat=6),),
    finds=(Find("keep-alive-disabled", "cheap", "server", note=True),),
    must_not={**CLOSES, "no-connection-reuse": "it is the server that closes"},
)
def php_never_keeps(lab: Lab) -> None:
    """Six GETs with a pool of urllib3, one after the other; PHP's built-in server sends `Connection: close` each time."""
    php(lab)
    python_client(lab, "urllib3", gets(*["/bytes/3000"] * 6))


@recording(
    title="PHP's built-in server flushes pieces 100 ms apart, without chunks",
    at="server",
    software=("php", "curl"),
    connections=(Connection((get("/pieces/5/100", 2_000, response_framing="close-delimited"),), closed_by="server", repeat=2),),
    finds=tuple(Find("unchunked-streaming", None, "server", number) for number in range(2)),
    must_not={**CLOSES, "close-delimited": "the pauses say more", "truncated-response": "the body ends with the connection"},
)
def php_flushes(lab: Lab) -> None:
    """Two GETs of a script that flushes five pieces of 400 bytes; PHP's built-in server does not chunk and ends the body with
    the connection."""
    php(lab)
    curl(lab, f"{V4}/pieces/5/100", f"{V4}/pieces/5/100")
