"""Common words that are kept in header sections, because rules and readers of the capture need them."""

from __future__ import annotations

from wiredoctor.text import redact


def _word_set(text: str) -> frozenset[bytes]:
    return frozenset(text.encode().split())


FIELD_NAMES = frozenset(name.encode() for name in redact.FIELD_NAMES) | _word_set("""
access-control-allow-origin access-control-allow-headers access-control-allow-methods access-control-max-age
access-control-request-headers access-control-request-method content-security-policy sec-fetch-dest sec-fetch-mode
sec-fetch-site sec-fetch-user server-timing strict-transport-security upgrade-insecure-requests x-content-type-options
x-forwarded-for x-forwarded-host x-forwarded-proto x-frame-options x-real-ip x-powered-by x-requested-with x-xss-protection
icy-br icy-genre icy-metaint icy-name icy-pub icy-url
""")
"""Field names that are kept: those that reports show, and others that browsers and servers add."""

CODINGS = _word_set("chunked identity gzip x-gzip deflate compress x-compress br zstd")
_OPTIONS = _word_set("close keep-alive upgrade te http2-settings") | FIELD_NAMES
_UPGRADES = _word_set("websocket h2c h2 tls http")
_MEDIA = _word_set("""
application atom+xml audio font image message model multipart text video json x-ndjson ndjson xml html plain css csv javascript
event-stream octet-stream pdf zip x-www-form-urlencoded form-data mixed alternative byteranges x-mixed-replace related png
jpeg gif webp svg+xml xhtml+xml rss+xml
grpc grpc-web grpc-web+proto grpc-web-text soap+xml problem+json wasm woff woff2 mp4 mpeg http
x-javascript x-rtsp-tunnelled vnd.amazon.eventstream gnss data
boundary charset utf-8 us-ascii iso-8859-1 version q
""")
_AUTH = (
    _word_set("realm nonce cnonce nc qop auth auth-int algorithm md5 sha-256 md5-sess stale true false opaque domain charset")
    | _word_set("userhash username uri response error scope utf-8")
    | frozenset(scheme.encode() for scheme in redact.SCHEMES)
)
PRODUCTS = _word_set("""
aiohttp apache apachebench apache-coyote apache-httpclient ats axios basehttp caddy cherrypy cloudflare coyote curl daphne
envoy express fetch firefox gecko git go-http-client gunicorn h11 haproxy httpclient httpie hypercorn iis java jetty kestrel
libcurl libwww-perl lighttpd micro_httpd microsoft microsoft-iis ms mozilla msie net nginx node node-fetch okhttp openresty
openssl perl php postman postmanruntime puma python python-httpx python-requests python-urllib python-urllib3 requests ruby
safari simplehttp squid thin tomcat tornado traefik twisted twistedweb undici unicorn urllib3 uvicorn varnish waitress
webkit applewebkit chrome chromium headlesschrome khtml like webrick websocket websockets web services werkzeug wget wsgiserver
httpx jakarta commons asyncio cpython unix linux debian ubuntu windows nt x11 x86_64 win64 x64 http proxy cache
client protocol compatible goahead boa rompager thttpd mini_httpd httpd wsgi async server
""")
"""Names of servers, proxies, clients and systems that are kept in Server, Via and User-Agent."""

GENERIC = _word_set("async cache client commons compatible fetch git like ms nt protocol proxy server services web x11 x64")
"""Product names that anyone may give to a program. A version after such a name is replaced, because it may reveal something."""

KEPT: dict[bytes, frozenset[bytes]] = {
    b"content-length": frozenset(),
    b"transfer-encoding": CODINGS | _word_set("trailers"),
    b"te": CODINGS | _word_set("trailers"),
    b"connection": _OPTIONS,
    b"proxy-connection": _OPTIONS,
    b"trailer": FIELD_NAMES,
    b"vary": FIELD_NAMES,
    b"keep-alive": _word_set("timeout max"),
    b"upgrade": _UPGRADES,
    b"expect": _word_set("100-continue"),
    b"user-agent": PRODUCTS,
    b"server": PRODUCTS,
    b"via": PRODUCTS,
    b"content-type": _MEDIA,
    b"content-encoding": CODINGS,
    b"content-disposition": _word_set("attachment inline"),
    b"range": _word_set("bytes"),
    b"sec-fetch-mode": _word_set("navigate"),
    b"accept": _MEDIA,
    b"accept-encoding": CODINGS,
    b"www-authenticate": _AUTH,
    b"proxy-authenticate": _AUTH,
    b"authorization": _AUTH,
    b"proxy-authorization": _AUTH,
    b"x-accel-buffering": _word_set("yes no"),
    b"cache-control": _word_set("no-cache no-store max-age private public must-revalidate no-transform"),
}
"""The words that are kept in the values of a field, by lower-case field name; other fields keep none.

kept_numbers.py decides about numbers.
"""
