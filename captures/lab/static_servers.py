"""Record nginx and Apache httpd with their defaults, and healthy traffic of their clients."""

from __future__ import annotations

import sys

from scenario import PEERS, Connection, Exchange, Lab, apache, curl, get, nginx, raw_client, recording

SIZES = {"a": 300, "b": 1_447, "c": 5_000, "d": 12_345}
FOUR = tuple(get(f"/{name}.txt", size) for name, size in SIZES.items())
URLS = [f"http://10.9.0.2/{name}.txt" for name in SIZES]


@recording(
    title="nginx and curl: four GETs on one connection",
    at="client",
    software=("nginx", "curl"),
    connections=(Connection(FOUR),),
)
def nginx_curl(lab: Lab) -> None:
    """One curl command with four URLs of 300 bytes to 12 kB; the last is larger than the first window's segments."""
    nginx(lab, **SIZES)
    curl(lab, *URLS)


@recording(
    title="nginx and requests: twelve GETs of a Session",
    at="server",
    software=("nginx", "requests"),
    connections=(Connection(FOUR * 3),),
    suffix="pcapng",
)
def nginx_requests(lab: Lab) -> None:
    """A requests.Session, 10 ms between the exchanges. The client accepts gzip, but nginx does not compress here."""
    nginx(lab, **SIZES)
    lab.client.run(sys.executable, str(PEERS / "session.py"), "0.01", *URLS * 3)


@recording(
    title="nginx and ab -k: HTTP/1.0 with keep-alive; nanosecond time stamps",
    at="client",
    software=("nginx", "ab"),
    connections=(Connection((get("/c.txt", 5_000, repeat=20),), closed_by="client"),),
    options=("--time-stamp-precision=nano",),
)
def nginx_ab_keep_alive(lab: Lab) -> None:
    """ab -k sends twenty HTTP/1.0 requests with Connection: keep-alive on one connection."""
    nginx(lab, **SIZES)
    lab.client.run("ab", "-q", "-k", "-n", "20", "-c", "1", "http://10.9.0.2/c.txt")


@recording(
    title="Apache and curl: GET, HEAD, 304 and 404; Linux cooked capture on any",
    at="server",
    software=("apache2", "curl"),
    connections=(
        Connection(
            (
                get("/c.txt", 5_000),
                Exchange("HEAD", "/c.txt", 200, 0, "none"),
                Exchange("GET", "/c.txt", 304, 0, "none"),
                Exchange("GET", "/nothing", 404, 22),
                get("/a.txt", 300),
            )
        ),
    ),
    interface="any",
)
def apache_curl(lab: Lab) -> None:
    """One curl command with five transfers on one connection: a GET, a HEAD of the same page, a GET with the
    ETag of the first, a page that does not exist, another GET."""
    apache(lab, **SIZES)
    again = ["--next", "-sS", "-o", "/dev/null"]
    page, tag = "http://10.9.0.2/c.txt", str(lab.folder / "etag")
    known = ["--etag-save", tag, page, *again, "-I", page, *again, "--etag-compare", tag, page]
    curl(lab, *known, *again, "http://10.9.0.2/nothing", *again, URLS[0])


@recording(
    title="Apache and requests: twelve GETs of a Session",
    at="client",
    software=("apache2", "requests"),
    connections=(Connection(FOUR * 3),),
)
def apache_requests(lab: Lab) -> None:
    """Like nginx-requests, from Apache with its defaults; 10 ms between the exchanges."""
    apache(lab, **SIZES)
    lab.client.run(sys.executable, str(PEERS / "session.py"), "0.01", *URLS * 3)


@recording(
    title="Apache and ab: HTTP/1.0 with a connection for each request",
    at="client",
    software=("apache2", "ab"),
    connections=(Connection((get("/b.txt", 1_447),), closed_by=None, repeat=12),),
    must_not={
        "premature-close": "HTTP/1.0 without keep-alive",
        "keep-alive-disabled": "the requests are HTTP/1.0",
        "no-connection-reuse": "the responses leave no connection open",
    },
)
def apache_ab(lab: Lab) -> None:
    """ab without -k: twelve requests in HTTP/1.0, one after the other."""
    apache(lab, **SIZES)
    lab.client.run("ab", "-q", "-n", "12", "-c", "1", "http://10.9.0.2/b.txt")


@recording(
    title="nginx and pipelined requests, with a HEAD in the middle; Linux cooked capture of the older kind",
    at="server",
    software=("nginx", "python"),
    connections=(
        Connection(
            (get("/a.txt", 300), get("/b.txt", 1_447), Exchange("HEAD", "/d.txt", 200, 0, "none"), get("/c.txt", 5_000)) * 3
        ),
    ),
    interface="any",
    options=("-y", "LINUX_SLL"),
    unassembled=True,
)
def nginx_pipelined(lab: Lab) -> None:
    """A hand-written client writes three GETs and a HEAD in one send, reads the four responses, and does so three times
    on one connection."""
    nginx(lab, **SIZES)
    lines = ("GET /a.txt", "GET /b.txt", "HEAD /d.txt", "GET /c.txt")
    batch = "".join(f"{line} HTTP/1.1\r\nHost: 10.9.0.2\r\n\r\n" for line in lines).encode()
    raw_client(lab, [[batch, {"read": ["GET", "GET", "HEAD", "GET"]}, 0.02] * 3], 80)


@recording(
    title="nginx and curl: a download of 400 kB; recorded with a snap length of 400 bytes",
    at="client",
    software=("nginx", "curl"),
    connections=(Connection((get("/a.txt", 300), get("/large.txt", 400_000))),),
    options=("-s", "400"),
    must_not={"snap-length": "heads are whole", "capture-loss": "nothing was lost, only cut", "tinygrams": "segments are long"},
    whole=False,
)
def nginx_download_snapped(lab: Lab) -> None:
    """Bodies are truncated in the recording, heads are not, so nothing important is missing."""
    nginx(lab, **SIZES, large=400_000)
    curl(lab, URLS[0], "http://10.9.0.2/large.txt")
