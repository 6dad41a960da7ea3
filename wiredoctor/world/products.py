"""List what products do by default, one row per setting."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple

from wiredoctor.findings import Advice, Reference, Side
from wiredoctor.tables import SECOND


class Setting(NamedTuple):
    """A setting of a product.

    `pattern`: a regular expression to search, ignoring case, in the Server field (sides server and gateway) or the User-Agent
    field (side client); "" if no field shows the product. Side gateway: what a proxy or a balancer does for clients and the
    servers behind it. `limits`: what the setting limits, one or several of the words below. `default`: seconds; bytes of a head;
    or a text, "" if it has none. `source`: the page, or the file of the product, that says so. `text`: the advice about it, with
    "{}" in place of the default, if that is not "product: setting (default).". `field`: "own" if all responses name the product
    in Server; "none" if it sends no such field, or is often configured to send none; "forwarded" if it forwards the field of the
    server behind it.

    idle: the time between exchanges after which a server closes a connection, or a pool does not reuse it. silence: the time
    without payload after which an intermediary closes a connection. answer: how long a client or a gateway waits for data of a
    response. body: how long a server waits for data of a request. work: the time after which a busy worker is killed. continue:
    how long a client waits for 100 (Continue). head: the size of a head. connections: how many connections or requests a client
    or a gateway opens to a server at once. workers: how many requests a server works on at once.
    """

    product: str
    pattern: str
    side: Side | Literal["gateway"]
    limits: str
    setting: str
    default: float | str
    source: str | Reference
    text: str = ""
    field: Literal["own", "none", "forwarded"] = "own"

    @property
    def amount(self) -> str:
        """The default with its unit: "60 s", "5 minutes", "16 KiB"."""
        if isinstance(self.default, str):
            return self.default
        if self.limits == "head":
            return f"{self.default // 1024} KiB"
        return f"{self.default // 60} minutes" if self.default >= 180 and self.default % 60 == 0 else f"{self.default} s"

    @property
    def time(self) -> int:
        """The default in ns; 0 if it is not a time."""
        return 0 if isinstance(self.default, str) or self.limits == "head" else round(self.default * SECOND)

    @property
    def advice(self) -> str:
        """The advice about the setting: "OkHttp: the keepAliveDuration of its ConnectionPool (5 minutes by default)."."""
        amount = self.amount if isinstance(self.default, str) else f"{self.amount} by default"
        place = "" if not amount else ", {}" if self.setting.endswith("=...)") else " ({})"
        return (self.text or f"{self.product}: {self.setting}{place}.").replace("{}", amount)


_AWS = "https://docs.aws.amazon.com/elasticloadbalancing/latest/"
_ALB = _AWS + "application/edit-load-balancer-attributes.html"
_ALB_IDLE = 60
_ENVOY = "https://www.envoyproxy.io/docs/envoy/latest/faq/configuration/timeouts"
_HTTPD = "https://httpd.apache.org/docs/2.4/mod/"
_NGINX = "https://nginx.org/en/docs/http/ngx_http_"
_LEARN = "https://learn.microsoft.com/en-us/"
_DOTNET = _LEARN + "dotnet/api/system.net.http."

PRODUCTS = (
    Setting("Google Cloud's application load balancers", "", "gateway", "silence",
            "timeout of the backend service, after which WebSockets end even if they are in use", 30,
            "https://cloud.google.com/load-balancing/docs/https#timeout-bes"),
    Setting("HAProxy as Debian and Ubuntu ship it", "", "gateway", "silence",
            "timeout client and timeout server; timeout tunnel where it is set", 50,
            Reference("HAProxy, timeout tunnel", "https://docs.haproxy.org/2.6/configuration.html#4.2-timeout%20tunnel")),
    Setting("Heroku's router", "", "gateway", "silence", "not configurable", 55,
            "https://devcenter.heroku.com/articles/request-timeout"),
    Setting("nginx", "nginx|openresty", "gateway", "silence", "proxy_read_timeout", 60,
            Reference("nginx, WebSocket proxying", "https://nginx.org/en/docs/http/websocket.html"),
            "nginx: set proxy_read_timeout in the location of this path ({})."),
    Setting("AWS application load balancers", "awselb", "gateway", "silence", "idle_timeout.timeout_seconds", _ALB_IDLE,
            Reference("AWS, application load balancer attributes: idle timeout", _ALB),
            "AWS: the attribute idle_timeout.timeout_seconds of the load balancer ({})."),
    # the same attribute, as the title of the page names it
    Setting("AWS application load balancers", "", "server", "idle", "idle timeout", _ALB_IDLE, _ALB, field="forwarded"),
    Setting("Apache httpd", "Apache(?!-Coyote|-Tomcat)", "gateway", "silence", "ProxyTimeout", 60,
            Reference("Apache httpd, ProxyTimeout", _HTTPD + "mod_proxy.html#proxytimeout"),
            "Apache httpd: set ProxyTimeout, or timeout= of ProxyPass."),
    Setting("Cloudflare", "cloudflare", "gateway", "silence", "Proxy Read Timeout", 120,
            "https://developers.cloudflare.com/fundamentals/reference/connection-limits/",
            "Cloudflare: Proxy Read Timeout ({}); only some plans can change it."),
    Setting("Azure Load Balancer", "", "gateway", "silence",
            "idleTimeoutInMinutes; the load balancer closes idle connections only if enableTcpReset is on", 240,
            Reference("Microsoft, Azure Load Balancer: TCP reset and idle timeout",
                      _LEARN + "azure/load-balancer/load-balancer-tcp-reset")),
    Setting("Envoy", "envoy", "gateway", "silence", "stream_idle_timeout", 300, _ENVOY,
            "Envoy: stream_idle_timeout, or idle_timeout of the route ({})."),
    Setting("Apache httpd as Debian and Ubuntu ship it", "", "gateway", "silence",
            "Timeout, and ProxyTimeout, which defaults to it", 300, _HTTPD + "core.html#timeout"),
    Setting("AWS network load balancers", "", "gateway", "silence", "tcp.idle_timeout.seconds", 350,
            _AWS + "network/update-idle-timeout.html"),
    Setting("Envoy as a proxy of TCP", "", "gateway", "silence", "idle_timeout", 3600, _ENVOY),

    # Go's net/http has no idle timeout, and sends no Server field either
    Setting("gunicorn", "gunicorn", "server", "idle", "--keep-alive", 2, "config.py"),
    Setting("Apache httpd", "Apache(?!-Coyote|-Tomcat)", "server", "idle", "KeepAliveTimeout", 5, "include/httpd.h"),
    Setting("Apache httpd", "", "server", "body", "RequestReadTimeout", 20, _HTTPD + "mod_reqtimeout.html"),
    # current releases announce their timeout, and an announced timeout is reported instead of a default
    Setting("old releases of Node", "node|express", "server", "idle", "server.keepAliveTimeout", 5,
            "lib/_http_server.js", field="none"),
    Setting("uvicorn", "uvicorn", "server", "idle", "", 5, "uvicorn/config.py"),
    Setting("hypercorn", "hypercorn", "server", "idle", "", 5, "hypercorn/config.py"),
    Setting("lighttpd", "lighttpd", "server", "idle", "", 5, "src/configfile.c"),
    Setting("Bun", "bun", "server", "idle", "", 10, "https://github.com/stella/stella/issues/1697", field="none"),
    Setting("Tomcat as it is shipped", "Apache-Coyote|Tomcat", "server", "idle body", "connectionTimeout in server.xml", 20,
            "conf/server.xml", field="none"),
    Setting("Jetty", "jetty", "server", "idle body", "idleTimeout", 30, "AbstractConnector.java", field="none"),
    Setting("Tomcat without a setting", "Apache-Coyote|Tomcat", "server", "idle", "keepAliveTimeout", 60,
            "webapps/docs/config/http.xml", field="none"),
    Setting("Puma", "puma", "server", "idle", "persistent_timeout", 65, "lib/puma/configuration.rb", field="none"),
    Setting("nginx", "nginx|openresty|tengine", "server", "idle", "keepalive_timeout", 75, _NGINX + "core_module.html"),
    Setting("aiohttp's run_app", "aiohttp", "server", "idle", "keepalive_timeout", 75, "aiohttp/web.py"),
    Setting("Heroku's router", "", "server", "idle", "", 90, "https://github.com/heroku/python-getting-started/issues/261",
            field="forwarded"),
    Setting("IIS", "IIS|Microsoft-HTTPAPI", "server", "idle body", "connectionTimeout", 120, "IIS_schema.xml"),
    Setting("waitress", "waitress", "server", "idle", "channel_timeout", 120, "waitress/adjustments.py"),
    Setting("Traefik", "", "server", "idle", "idleTimeout of the entry point", 180, "static_config.go", field="forwarded"),
    Setting("Caddy", "caddy", "server", "idle", "idle_timeout", 300, "modules/caddyhttp/app.go"),
    Setting("Envoy", "envoy", "server", "idle", "idle_timeout", 3600, _ENVOY),

    Setting("Go", "^Go-http-client", "client", "idle", "http.Transport.IdleConnTimeout",
            "90 s in http.DefaultTransport, no limit in other Transports", "net/http/transport.go"),
    Setting("libcurl", "curl|^GuzzleHttp", "client", "idle", "CURLOPT_MAXAGE_CONN", 118, "lib/url.c"),
    Setting("OkHttp", "okhttp", "client", "idle", "the keepAliveDuration of its ConnectionPool", 300, "ConnectionPool.kt"),
    Setting("Node's fetch", "undici|^node$", "client", "idle", "the keepAliveTimeout of undici's Agent", 4, "client.js"),
    Setting("Node", "axios|node-fetch|superagent", "client", "idle", "the timeout of the http.Agent",
            "5 s in the http.globalAgent of Node 20, no limit in other Agents",
            "http.globalAgent.options and new http.Agent().options in Node 20"),
    Setting("Apache HttpClient 5", "Apache-Http(Async)?Client/5", "client", "idle", "RequestConfig.setConnectionKeepAlive", 180,
            "RequestConfig.java"),
    Setting("Apache HttpClient 4", "Apache-Http(Async)?Client/4", "client", "idle", "HttpClientBuilder.evictIdleConnections",
            "no limit by default", "httpclient 4.5.14, DefaultConnectionKeepAliveStrategy.java"),
    Setting("Java's HttpClient", "Java-http-client", "client", "idle", "the system property jdk.httpclient.keepalive.timeout",
            "30 s by default; 20 minutes in Java 17", "java.net.http module-info.java; ConnectionPool.java of JDK 17"),
    Setting("Java's HttpURLConnection", "^Java/", "client", "idle", "the system property http.keepAlive.time.server", 5,
            "KeepAliveCache.java of JDK 17"),
    Setting("Reactor Netty", "ReactorNetty", "client", "idle", "ConnectionProvider.builder(...).maxIdleTime(...)",
            "no limit by default", "its reference guide"),
    Setting("Vert.x", "^Vert[.]x", "client", "idle", "HttpClientOptions.setKeepAliveTimeout", 60, "HttpClientOptions.java"),
    Setting("AsyncHttpClient", "^AHC/", "client", "idle", "setPooledConnectionIdleTimeout", 60, "ahc-default.properties"),
    Setting("reqwest", "reqwest", "client", "idle", "ClientBuilder::pool_idle_timeout", 90, "async_impl/client.rs"),
    Setting("Ruby", "^Ruby$", "client", "idle", "Net::HTTP::Persistent's idle_timeout", 5, "persistent.rb",
            "Ruby: Net::HTTP::Persistent's idle_timeout ({}), or Net::HTTP's keep_alive_timeout (2 s)."),
    Setting("Dart", "^Dart/", "client", "idle", "HttpClient.idleTimeout", 15, "dart:io"),
    Setting("httpx", "python-httpx", "client", "idle", "Limits(keepalive_expiry=...)", 5, "httpx/_config.py"),
    Setting("aiohttp", "aiohttp", "client", "idle", "TCPConnector(keepalive_timeout=...)", 15, "aiohttp/connector.py"),
    Setting(".NET", "", "client", "idle", "SocketsHttpHandler.PooledConnectionIdleTimeout", "1 minute; 2 minutes before .NET 6",
            _DOTNET + "socketshttphandler.pooledconnectionidletimeout"),
    Setting(".NET Framework", "", "client", "idle", "ServicePoint.MaxIdleTime", 100,
            _LEARN + "dotnet/api/system.net.servicepointmanager.maxservicepointidletime"),
    Setting("nginx", "", "gateway", "idle", "keepalive_timeout in upstream", 60, _NGINX + "upstream_module.html"),

    Setting("curl", "curl", "client", "answer", "--max-time; libcurl: CURLOPT_TIMEOUT", "", "curl(1)"),
    Setting("Go", "^Go-http-client", "client", "answer", "http.Client.Timeout, or the deadline in the request's context", "",
            "net/http/client.go"),
    Setting("requests or urllib3", "python-requests|urllib3", "client", "answer", "the argument timeout", "", "requests/api.py"),
    Setting("httpx", "python-httpx", "client", "answer", "the argument timeout", 5, "httpx/_config.py"),
    Setting("aiohttp", "aiohttp", "client", "answer", "ClientTimeout(total=...)", 300, "aiohttp/client.py"),
    Setting("axios", "axios", "client", "answer", "the option timeout", "", "lib/defaults/index.js"),
    Setting("OkHttp", "okhttp", "client", "answer", "readTimeout", 10, "OkHttpClient.kt",
            "OkHttp: readTimeout ({}) and callTimeout."),
    Setting("Apache HttpClient 5", "Apache-HttpClient", "client", "answer", "RequestConfig.setResponseTimeout", "",
            "RequestConfig.java"),
    Setting(".NET", r"\.NET|MS Web Services", "client", "answer", "HttpClient.Timeout", 100, _DOTNET + "httpclient.timeout",
            ".NET: HttpClient.Timeout and HttpWebRequest.Timeout (both {})."),
    Setting("haproxy", "", "gateway", "answer", "timeout server", "", "doc/configuration.txt"),
    Setting("Envoy", "", "gateway", "answer", "timeout of the route", 15, _ENVOY),
    Setting("Caddy", "", "gateway", "answer", "response_header_timeout", "", "modules/caddyhttp/reverseproxy"),
    Setting("Varnish", "", "gateway", "answer", "first_byte_timeout of the backend", 60, "varnishd(1)"),
    Setting("Squid", "", "gateway", "answer", "read_timeout", 900, "https://www.squid-cache.org/Doc/config/read_timeout/"),
    Setting("Apache Traffic Server", "", "gateway", "answer", "proxy.config.http.transaction_no_activity_timeout_out", 30,
            "doc/admin-guide/files/records.yaml.en.rst"),

    Setting("nginx", "", "server", "body", "client_body_timeout", 60, _NGINX + "core_module.html#client_body_timeout"),
    Setting("lighttpd", "", "server", "body", "server.max-read-idle", 60, "src/configfile.c"),
    Setting("gunicorn", "gunicorn", "server", "work", "--timeout", 30, "config.py",
            "gunicorn: a worker that is silent for longer than --timeout ({}) is killed."),
    Setting("Puma", "", "server", "work", "worker_timeout", 60, "lib/puma/configuration.rb"),
    Setting("Unicorn", "", "server", "work", "timeout", 60, "lib/unicorn/configurator.rb"),

    Setting("the .NET Framework", "", "client", "continue", "", 0.35, "HttpWebRequest.cs"),
    Setting("curl", "", "client", "continue", "", 1, "lib/url.c (CURLOPT_EXPECT_100_TIMEOUT_MS)"),
    Setting("Go", "", "client", "continue", "", 1, "net/http/transport.go (DefaultTransport)"),
    Setting(".NET", "", "client", "continue", "", 1, _DOTNET + "socketshttphandler.expect100continuetimeout"),
    Setting("Apache HttpClient", "", "client", "continue", "", 3, "httpcore5, HttpRequestExecutor.java"),

    Setting("Go", "^Go-http-client", "client", "connections", "http.Transport.MaxConnsPerHost", "no limit by default",
            "net/http/transport.go"),
    Setting("requests", "python-requests", "client", "connections", "HTTPAdapter(pool_maxsize=..., pool_block=True)",
            "10; without pool_block, more connections are opened and not kept", "requests/adapters.py"),
    Setting("urllib3", "urllib3", "client", "connections", "PoolManager(maxsize=..., block=True)",
            "1; without block, more connections are opened and not kept", "urllib3/connectionpool.py"),
    Setting("aiohttp", "aiohttp", "client", "connections", "TCPConnector(limit=..., limit_per_host=...)",
            "100 in all by default, and no limit per host", "aiohttp/connector.py"),
    Setting("httpx", "python-httpx", "client", "connections", "Limits(max_connections=...)", "100 by default",
            "httpx/_config.py"),
    Setting("Node", "axios|node-fetch|superagent", "client", "connections", "maxSockets of the http.Agent",
            "no limit by default", "doc/api/http.md"),
    Setting("Node's fetch", "undici|^node$", "client", "connections", "connections of undici's Pool or Agent",
            "no limit by default", "undici/docs/docs/api/Pool.md"),
    Setting("OkHttp", "okhttp", "client", "connections", "maxRequestsPerHost and maxRequests of its Dispatcher",
            "5 and 64 by default, for asynchronous calls", "Dispatcher.kt"),
    Setting("Apache HttpClient 5", "Apache-Http(Async)?Client/5", "client", "connections",
            "setMaxConnPerRoute and setMaxConnTotal of the PoolingHttpClientConnectionManagerBuilder", "5 and 25 by default",
            "PoolingHttpClientConnectionManager.java"),
    Setting("Apache HttpClient 4", "Apache-Http(Async)?Client/4", "client", "connections",
            "setMaxConnPerRoute and setMaxConnTotal of the HttpClientBuilder", "2 and 20 by default",
            "httpclient 4.5.14, PoolingHttpClientConnectionManager.java"),
    Setting("Reactor Netty", "ReactorNetty", "client", "connections", "ConnectionProvider.builder(...).maxConnections(...)",
            "500 in the provider that HttpClient uses by default", "its reference guide"),
    Setting("Vert.x", "^Vert[.]x", "client", "connections", "HttpClientOptions.setMaxPoolSize, PoolOptions.setHttp1MaxSize",
            "5 by default", "HttpClientOptions.java"),
    Setting(".NET Framework", "", "client", "connections", "ServicePointManager.DefaultConnectionLimit",
            "2 by default, 10 in ASP.NET", _LEARN + "dotnet/api/system.net.servicepointmanager.defaultconnectionlimit"),
    Setting("haproxy", "", "gateway", "connections", "maxconn of a server", "no limit by default",
            Reference("HAProxy, maxconn of a server", "https://docs.haproxy.org/2.6/configuration.html#5.2-maxconn")),
    Setting("nginx", "", "gateway", "connections", "max_conns of a server in upstream", "no limit by default",
            Reference("nginx, max_conns", _NGINX + "upstream_module.html#max_conns")),

    Setting("gunicorn", "gunicorn", "server", "workers", "--workers and --threads", "1 each by default", "config.py"),
    Setting("waitress", "waitress", "server", "workers", "threads", "4 by default", "waitress/adjustments.py"),
    Setting("Puma", "puma", "server", "workers", "threads and workers", "5 threads by default, 16 in JRuby",
            "lib/puma/configuration.rb"),
    Setting("Tomcat", "Apache-Coyote|Tomcat", "server", "workers", "maxThreads in server.xml", "200 by default",
            "webapps/docs/config/http.xml"),
    Setting("Jetty", "jetty", "server", "workers", "maxThreads of its QueuedThreadPool", "200 by default",
            "QueuedThreadPool.java"),
    Setting("Apache httpd", "Apache(?!-Coyote|-Tomcat)", "server", "workers", "MaxRequestWorkers",
            "256 with prefork, 400 with event", _HTTPD + "mpm_common.html#maxrequestworkers"),
    Setting("PHP-FPM", "PHP/|php-fpm", "server", "workers", "pm.max_children", "", "www.conf"),
    Setting("uvicorn", "uvicorn", "server", "workers",
            "--workers; functions that are not async run in the threads of AnyIO", "1 and 40 by default", "uvicorn/config.py"),
    Setting("http.server or wsgiref", "SimpleHTTP|BaseHTTP|WSGIServer", "server", "workers", "ThreadingHTTPServer", "",
            "http/server.py",
            "Python's http.server and wsgiref: HTTPServer serves one connection at a time, ThreadingHTTPServer does not."),

    Setting("nginx", "nginx", "server", "head", "large_client_header_buffers", "4 of 8 KiB by default",
            _NGINX + "core_module.html#large_client_header_buffers"),
    Setting("Apache httpd", "Apache", "server", "head", "LimitRequestFieldSize and LimitRequestLine", "8190 bytes",
            _HTTPD + "core.html#limitrequestfieldsize"),
    Setting("Envoy", "envoy", "server", "head", "max_request_headers_kb", "60 by default", "http_connection_manager.proto"),
    Setting("lighttpd", "lighttpd", "server", "head", "server.max-request-field-size", 8192, "src/configfile.c"),
    Setting("gunicorn", "gunicorn", "server", "head", "--limit-request-field_size and --limit-request-line", "", "config.py"),
    Setting("Jetty", "Jetty", "server", "head", "requestHeaderSize", 8192, "HttpConfiguration.java"),
    Setting("Kestrel", "Kestrel", "server", "head", "MaxRequestHeadersTotalSize", 32768, "KestrelServerLimits.cs"),
    Setting("http.sys", "Microsoft-HTTPAPI", "server", "head", "MaxFieldLength and MaxRequestBytes", 16384,
            "Microsoft KB 820129, Http.sys registry settings"),
    Setting("haproxy", "", "server", "head", "tune.bufsize", 16384, "doc/configuration.txt"),
    Setting("haproxy", "", "gateway", "head", "tune.bufsize less tune.maxrewrite", 15360, "doc/configuration.txt"),
    Setting("Node", "", "server", "head", "--max-http-header-size", 16384, "doc/api/cli.md"),
    Setting("Tomcat", "", "server", "head", "maxHttpRequestHeaderSize", 8192, "webapps/docs/config/http.xml"),
    Setting("uWSGI", "", "server", "head", "buffer-size", "4 kB", "core/uwsgi.c"),
    Setting("Varnish", "", "server", "head", "http_req_size", "32 kB", "varnishd(1)"),
    # in KiB: a page of memory
    Setting("nginx", "", "gateway", "head", "proxy_buffer_size", "4 or 8", _NGINX + "proxy_module.html#proxy_buffer_size"),
)  # fmt: skip

_BY_NAME = {(one.product, one.setting.partition(";")[0]): one for one in PRODUCTS}


def find_setting(product: str, setting: str) -> Setting:
    """Return the row of a setting, which is named up to a semicolon. Raise KeyError if there is none."""
    return _BY_NAME[product, setting]


def default(product: str, setting: str) -> str:
    """Return the default of a setting with its unit: "60 s". Raise KeyError if there is no such setting."""
    return find_setting(product, setting).amount


@cache
def settings(limits: str, side: str = "") -> tuple[Setting, ...]:
    """Return the settings that limit `limits` (a key of LIMITS), in order of PRODUCTS. `side`: of this side only."""
    return tuple(one for one in PRODUCTS if limits in one.limits.split() and side in ("", one.side))


def advice(limits: str, side: Side, where: str = "") -> tuple[Advice, ...]:
    """Return the advice about the settings of a side, for products that a field shows. `where`: as in Advice."""
    return tuple(Advice(side, one.pattern, one.advice, where) for one in settings(limits, side) if one.pattern)


def names(some: Sequence[Setting], again: str = "of ") -> str:
    """Return the names of settings: "nginx (proxy_read_timeout), of A (a) and of B (b)".

    `again`: the words before every name but the first.
    """
    *first, last = (f"{one.product} ({one.setting})" if one.setting else one.product for one in some)
    return f" and {again}".join([f", {again}".join(first), last] if first else [last])
