"""The application of server.py, in more servers: python http_servers.py SERVER PORT."""

from __future__ import annotations

import sys
from typing import Any

from server import LARGE, ROWS, SMALL, asgi, wsgi

ADDRESS = "0.0.0.0"


def bjoern(port: int) -> None:
    """WSGI on libev."""
    import bjoern as server

    server.run(wsgi, ADDRESS, port)


def fastwsgi(port: int) -> None:
    """WSGI on libuv."""
    import fastwsgi as server

    server.run(wsgi, ADDRESS, port)


def gevent(port: int) -> None:
    """Gevent's WSGI server, with its patches."""
    from gevent import monkey

    monkey.patch_all()
    from gevent.pywsgi import WSGIServer

    WSGIServer((ADDRESS, port), wsgi, log=None).serve_forever()


def eventlet(port: int) -> None:
    """Eventlet's WSGI server, with its patches."""
    import eventlet as library

    library.monkey_patch()
    from eventlet import wsgi as server

    server.server(library.listen((ADDRESS, port)), wsgi, keepalive=4, log_output=False)


def socketify(port: int) -> None:
    """WSGI on uWebSockets."""
    from socketify import WSGI

    WSGI(wsgi).listen(port, lambda _: None).run()


def robyn(port: int) -> None:
    """Robyn, whose server is Actix (Rust)."""
    import asyncio

    from robyn import Response, Robyn, StreamingResponse

    app = Robyn(__file__)

    def text(body: bytes, status: int = 200) -> Any:
        return Response(status_code=status, headers={"Content-Type": "text/plain"}, description=body)

    async def rows() -> Any:
        for row in ROWS:
            await asyncio.sleep(0.04)
            yield row.decode()

    @app.get("/rows")
    async def stream() -> Any:
        return StreamingResponse(content=rows(), media_type="application/x-ndjson")

    @app.get("/late")
    async def late() -> Any:
        await asyncio.sleep(0.7)
        return text(SMALL)

    app.get("/small")(lambda: text(SMALL))
    app.head("/small")(lambda: text(b""))
    app.get("/large")(lambda: text(LARGE))
    app.get("/empty")(lambda: text(b"", 204))
    app.post("/upload")(lambda request: text(b"%d" % len(request.body)))
    app.start(host=ADDRESS, port=port)


def cherrypy(port: int) -> None:
    """CherryPy's own tree of pages."""
    import cherrypy as library

    library.tree.graft(wsgi)
    library.config.update({"server.socket_host": ADDRESS, "server.socket_port": port, "log.screen": False})
    library.engine.start()
    library.engine.block()


app = asgi
"""For servers that are started with `http_servers:app`."""

if __name__ == "__main__":
    globals()[sys.argv[1]](int(sys.argv[2]))
