"""Record proxies and load balancers on both sides: what they do with streams, closes, and requests that are lost behind them."""

from __future__ import annotations

import sys

from closes import ANNOUNCED, SILENT
from impairments import Conditions
from lifetimes import CLOSE, FINE, READ, REQUEST
from network import PROXY_FRONT
from pages import CHUNKED, PAGE_BYTES, UNFRAMED, page_server
from scenario import PEERS, Connection, Exchange, Find, Lab, get, raw_server, raw_user, recording, unanswered

NGINX = """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
  access_log off; server_tokens off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream application {{ server 10.9.0.2:8080; keepalive 4; {upstream} }}
  server {{ listen 80; location / {{ proxy_pass http://application; {more} }} }}
}}
"""
HTTP_1_1 = 'proxy_http_version 1.1; proxy_set_header Connection "";'

HAPROXY = """\
global
    maxconn 100
defaults
    mode {mode}
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen web
    bind :80
    server application 10.9.0.2:8080
"""

VCL = """\
vcl 4.1;
backend application {{ .host = "10.9.0.2"; .port = "8080"; }}
sub vcl_recv {{ return (pass); }}
sub vcl_backend_response {{ set beresp.do_stream = {stream}; }}
"""


def _nginx(lab: Lab, more: str = HTTP_1_1, upstream: str = "") -> None:
    conf = lab.file("proxy.conf", NGINX.format(folder=lab.folder, more=more, upstream=upstream))
    lab.client.serve(80, "nginx", "-c", conf)


def _haproxy(lab: Lab, mode: str = "http") -> None:
    conf = lab.file("haproxy.cfg", HAPROXY.format(mode=mode))
    lab.client.serve(80, "haproxy", "-db", "-q", "-f", conf)


def _varnish(lab: Lab, *, stream: bool) -> None:
    conf = lab.file("proxy.vcl", VCL.format(stream=str(stream).lower()))
    words = ["-F", "-j", "none", "-n", str(lab.folder / "varnish"), "-a", ":80", "-f", conf, "-s", "malloc,8m"]
    lab.client.serve(80, "varnishd", *words, stdout=-3, stderr=-3)


def _browse(lab: Lab, how: str) -> None:
    assert lab.user
    lab.user.run(sys.executable, str(PEERS / "browser.py"), f"http://{PROXY_FRONT}/page/800/{how}")


REFUSED = Exchange("GET", "/report", 401, 25)
OK = get("/report", 5)
EARLY = Find("premature-close", None, "server", 1)
ORDER = b"POST /order HTTP/1.1\r\nHost: www\r\nContent-Length: 5\r\n\r\norder"
ORDERED = Exchange("POST", "/order", 200, 5, request_body=5)
REST = 1.5


@recording(
    title="Behind nginx: a 401 with an unannounced close affects only the connection between nginx and the server",
    at="proxy",
    software=("nginx", "python"),
    connections=(
        Connection((OK, REFUSED, OK)),
        Connection((OK, REFUSED), closed_by="server"),
        Connection((OK,), closed_by=""),
    ),
    finds=(EARLY,),
    interface="any",
    proxied=True,
)
def behind_nginx_unauthorized(lab: Lab) -> None:
    """nginx with keepalive to its upstream. The server closes 5 ms after a 401, unannounced; nginx keeps the user's
    connection open and sends the next request, 1.5 s later, on a new one."""
    raw_server(lab, [[FINE], [SILENT, 0.005, CLOSE]])
    _nginx(lab)
    raw_user(lab, REQUEST, READ, 0.05, REQUEST, READ, 1.5, REQUEST, READ, 0.05)


@recording(
    title="Behind a TCP load balancer: the 401 closes the user's connection, too",
    at="proxy",
    software=("haproxy", "python"),
    connections=(Connection((OK, REFUSED), closed_by="server", repeat=2),),
    finds=(EARLY, Find("premature-close", None, "server", 0)),
    interface="any",
    proxied=True,
)
def behind_tcp_balancer_unauthorized(lab: Lab) -> None:
    """HAProxy in mode tcp forwards everything, and closes when its server closes. The user waits for the close."""
    raw_server(lab, [[FINE], [SILENT, 0.005, CLOSE]])
    _haproxy(lab, "tcp")
    raw_user(lab, REQUEST, READ, 0.05, REQUEST, READ, 1.3)


@recording(
    title="Behind HAProxy: the request after a 401 crosses the close, and HAProxy closes instead of answering",
    at="proxy",
    software=("haproxy", "python"),
    connections=(
        Connection((OK, REFUSED, unanswered("GET", "/report")), closed_by="server"),
        Connection((OK, REFUSED, unanswered("GET", "/report")), closed_by=None),
    ),
    finds=(Find("keep-alive-race", "race", "client", 1), Find("no-response", "later", "server", 0)),
    interface="any",
    wire=Conditions(0.010),
    proxied=True,
)
def behind_haproxy_unauthorized(lab: Lab) -> None:
    """The server, 20 ms away, closes 15 ms after a 401, unannounced. The user's next request follows at once; HAProxy sends it on
    the connection, which it believes to be open. The request is lost, and HAProxy closes the user's connection without a
    response, so the user may try again."""
    raw_server(lab, [[FINE], [SILENT, 0.015, CLOSE]])
    _haproxy(lab)
    raw_user(lab, REQUEST, READ, 0.05, REQUEST, READ, 0.004, REQUEST, {"do": "wait"}, 1.3)


@recording(
    title="Behind HAProxy: the 401 announces the close, and nothing is lost",
    at="proxy",
    software=("haproxy", "python"),
    connections=(
        Connection((OK, REFUSED, OK)),
        Connection((OK, REFUSED), closed_by=None),
        Connection((OK,), closed_by=None),
    ),
    must_not={"premature-close": "the close was announced", "keep-alive-race": "the proxy knew of the close"},
    interface="any",
    wire=Conditions(0.010),
    proxied=True,
)
def behind_haproxy_announced(lab: Lab) -> None:
    """The fix for behind-haproxy-unauthorized: Connection: close on the 401. HAProxy keeps the user's connection, and opens a new
    one to its server."""
    raw_server(lab, [[FINE], [ANNOUNCED, 0.015, CLOSE]])
    _haproxy(lab)
    raw_user(lab, REQUEST, READ, 0.05, REQUEST, READ, 0.004, REQUEST, READ, 0.05)


@recording(
    title="An occasional 502: nginx keeps idle connections longer than the server behind it",
    at="proxy",
    software=("nginx", "python"),
    connections=(
        Connection((ORDERED, Exchange("POST", "/order", 502, 150, request_body=5))),
        Connection((ORDERED, Exchange("POST", "/order", None, None, "", request_body=5)), closed_by=None),
    ),
    finds=(Find("keep-alive-race", "race", "client", 1),),
    must_not={"no-response": "the request was sent against a closed connection", "premature-close": "it had been idle for 1.5 s"},
    interface="any",
    wire=Conditions(0.010),
    proxied=True,
)
def behind_nginx_race(lab: Lab) -> None:
    """nginx keeps idle connections to its upstream for 60 s, the server behind it for 1.5 s. An order after 1.5 s is sent while
    the server's close is on its way, and must not be repeated: nginx sends a 502."""
    raw_server(lab, [[FINE, REST, CLOSE]])
    _nginx(lab)
    raw_user(lab, ORDER, {"read": ["POST"]}, REST - 0.0105, ORDER, {"read": ["POST"]}, 1.3)


@recording(
    title="No 502: nginx closes its idle connections before the server behind it does",
    at="proxy",
    software=("nginx", "python"),
    connections=(Connection((ORDERED, ORDERED)), Connection((ORDERED,)), Connection((ORDERED,), closed_by=None)),
    must_not={"keep-alive-race": "nginx closed first", "idle-close": "nginx closed first", "no-connection-reuse": "only two"},
    interface="any",
    wire=Conditions(0.010),
    proxied=True,
)
def behind_nginx_retired(lab: Lab) -> None:
    """The fix for behind-nginx-race: `keepalive_timeout 1s` in the upstream block, less than the 1.5 s of the server."""
    raw_server(lab, [[FINE, REST, CLOSE]])
    _nginx(lab, upstream="keepalive_timeout 1s;")
    raw_user(lab, ORDER, {"read": ["POST"]}, REST - 0.0105, ORDER, {"read": ["POST"]}, 1.3)


def _page(how: str, front: dict[str, str], back: dict[str, str], closed_by: str | None) -> tuple[Connection, ...]:
    """Return the connections for the page of a user and of the proxy, each followed by its two sub-resources."""
    page = f"/page/800/{how}"
    assets = [get(f"/asset/50/{name}", 500) for name in ("style.css", "script.js")]
    return (
        Connection((get(page, PAGE_BYTES, **front),), closed_by=None),
        Connection((get(page, PAGE_BYTES, **back),), closed_by=closed_by),
        *(Connection((asset,)) for asset in assets),
        *(Connection((asset,), closed_by=closed_by) for asset in assets),
    )


@recording(
    title="nginx buffers a page that is flushed but not chunked, and its sub-resources have to wait",
    at="proxy",
    software=("nginx", "node", "python"),
    connections=_page("flushed", CHUNKED, UNFRAMED, None),
    finds=(Find("unchunked-streaming", None, "server", 1), Find("late-flush", None, "server", note=True)),
    must_not={"keep-alive-disabled": "it would save one connection of three"},
    interface="any",
    proxied=True,
)
def behind_nginx_page_unchunked(lab: Lab) -> None:
    """The server of page-keep-alive-off behind nginx. The head of the page leaves the server at once. Without chunks, nginx
    forwards only the complete page, 800 ms later, and the browser requests style sheet and script then."""
    page_server(lab, "close")
    _nginx(lab)
    _browse(lab, "flushed")


@recording(
    title="nginx forwards a page that is flushed in chunks",
    at="proxy",
    software=("nginx", "node", "python"),
    connections=_page("flushed", CHUNKED, CHUNKED, ""),
    must_not={"late-flush": "the sub-resources overlap with the page", "buffered-stream": "each chunk is passed on"},
    interface="any",
    proxied=True,
)
def behind_nginx_page_chunked(lab: Lab) -> None:
    """The fix for behind-nginx-page-unchunked: keep-alive is on, and node chunks."""
    page_server(lab)
    _nginx(lab)
    _browse(lab, "flushed")


@recording(
    title="HAProxy forwards a page that is flushed but not chunked",
    at="proxy",
    software=("haproxy", "node", "python"),
    connections=_page("flushed", UNFRAMED, UNFRAMED, None),
    finds=(
        Find("unchunked-streaming", None, "server", 0),
        Find("unchunked-streaming", None, "server", 1),
    ),
    must_not={
        "late-flush": "the sub-resources overlap with the page",
        "keep-alive-disabled": "all requests are side by side",
    },
    interface="any",
    proxied=True,
)
def behind_haproxy_page_unchunked(lab: Lab) -> None:
    """Like behind-nginx-page-unchunked, but HAProxy does not buffer: it forwards each piece when it arrives, without chunks."""
    page_server(lab, "close")
    _haproxy(lab)
    _browse(lab, "flushed")


EVENTS = sum(len(f'id: {n}\ndata: {{"price": {100 + n}}}\n\n') for n in range(1, 7))
SUBSCRIBE = b"GET /events/6/150 HTTP/1.1\r\nHost: www\r\n\r\n"


def _stream(front: dict[str, str], back: dict[str, str], closed_by: str | None = "") -> tuple[Connection, ...]:
    return (
        Connection((get("/events/6/150", EVENTS, **front),)),
        Connection((get("/events/6/150", EVENTS, **back),), closed_by=closed_by),
    )


HELD = Find("buffered-stream", "event-stream", "server", 0)


@recording(
    title="nginx sends its requests in HTTP/1.0 (its old default), and buffers an event stream",
    at="proxy",
    software=("nginx", "node", "python"),
    connections=_stream(CHUNKED, UNFRAMED, None),
    finds=(HELD,),
    interface="any",
    proxied=True,
)
def behind_nginx_events_held(lab: Lab) -> None:
    """node sends six events 150 ms apart. In HTTP/1.0 it may not chunk, and nginx forwards only the complete response."""
    page_server(lab)
    _nginx(lab, more="")
    raw_user(lab, SUBSCRIBE, READ, 0.05)


@recording(
    title="nginx sends its requests in HTTP/1.1 and forwards each event",
    at="proxy",
    software=("nginx", "node", "python"),
    connections=_stream(CHUNKED, CHUNKED),
    must_not={"buffered-stream": "each event is passed on when it comes"},
    interface="any",
    proxied=True,
)
def behind_nginx_events_passed(lab: Lab) -> None:
    """The fix for behind-nginx-events-held: `proxy_http_version 1.1`."""
    page_server(lab)
    _nginx(lab)
    raw_user(lab, SUBSCRIBE, READ, 0.05)


@recording(
    title="Varnish with do_stream off buffers an event stream",
    at="proxy",
    software=("varnish", "node", "python"),
    connections=_stream({}, CHUNKED),
    finds=(HELD,),
    interface="any",
    proxied=True,
)
def behind_varnish_events_held(lab: Lab) -> None:
    """`set beresp.do_stream = false`: Varnish fetches the complete response and adds a Content-Length."""
    page_server(lab)
    _varnish(lab, stream=False)
    raw_user(lab, SUBSCRIBE, READ, 0.05)


@recording(
    title="Varnish forwards each event",
    at="proxy",
    software=("varnish", "node", "python"),
    connections=_stream(CHUNKED, CHUNKED),
    must_not={"buffered-stream": "each event is passed on when it comes"},
    interface="any",
    proxied=True,
)
def behind_varnish_events_passed(lab: Lab) -> None:
    """The fix for behind-varnish-events-held: Varnish's default."""
    page_server(lab)
    _varnish(lab, stream=True)
    raw_user(lab, SUBSCRIBE, READ, 0.05)


UNBUFFERED = "/events/6/150/unbuffered"


@recording(
    title="nginx sends its requests in HTTP/1.0, and the application turns buffering off (X-Accel-Buffering)",
    at="proxy",
    software=("nginx", "node", "python"),
    connections=(
        Connection((get(UNBUFFERED, EVENTS, **CHUNKED),)),
        Connection((get(UNBUFFERED, EVENTS, **UNFRAMED),), closed_by=None),
    ),
    must_not={"buffered-stream": "each event is passed on when it comes", "close-delimited": "an event stream has no end"},
    interface="any",
    proxied=True,
)
def behind_nginx_events_unbuffered(lab: Lab) -> None:
    """Another fix for behind-nginx-events-held, if nginx cannot be changed: the application's response has X-Accel-Buffering:
    no."""
    page_server(lab)
    _nginx(lab, more="")
    raw_user(lab, SUBSCRIBE.replace(b"/150", b"/150/unbuffered"), READ, 0.05)


ROWS_OF_JSON = sum(len(f'{{"id": {n}}}\n') for n in range(1, 9))


@recording(
    title="nginx sends its requests in HTTP/1.0, and buffers lines of JSON",
    at="proxy",
    software=("nginx", "node", "python"),
    connections=(
        Connection((get("/lines/8/100", ROWS_OF_JSON, **CHUNKED),)),
        Connection((get("/lines/8/100", ROWS_OF_JSON, **UNFRAMED),), closed_by=None),
    ),
    finds=(HELD, Find("close-delimited", None, "server", 1, note=True)),
    interface="any",
    proxied=True,
)
def behind_nginx_lines_held(lab: Lab) -> None:
    """Like behind-nginx-events-held, with newline-delimited JSON: eight lines 100 ms apart, the first at once."""
    page_server(lab)
    _nginx(lab, more="")
    raw_user(lab, SUBSCRIBE.replace(b"/events/6/150", b"/lines/8/100"), READ, 0.05)
