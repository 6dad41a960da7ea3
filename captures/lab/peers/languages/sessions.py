"""Clients of programs that are not HTTP servers: python sessions.py WAY."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from typing import Any

HOST = "10.9.0.2"


def zookeeper() -> None:
    """Two sessions of Kazoo: nodes, watches, a lock that both want, heartbeats."""
    from kazoo.client import KazooClient

    def one(number: int) -> None:
        client = KazooClient(f"{HOST}:2181", timeout=6)
        client.start(15)
        client.ensure_path("/lab")
        client.ChildrenWatch("/lab", lambda _: None)
        for n in range(12):
            client.create(f"/lab/{number}-", b"v" * 300, sequence=True, ephemeral=True)
            with client.Lock("/lock", f"{number}"):
                time.sleep(0.05)
            time.sleep(0.1 if n % 4 else 1.5)
        client.stop()

    both = [threading.Thread(target=one, args=(n,), daemon=True) for n in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(20)


def stomp() -> None:
    """A subscriber with heartbeats and a publisher, over STOMP."""
    import stomp as library

    reader = library.Connection12([(HOST, 61613)], heartbeats=(2000, 2000))
    reader.connect("admin", "admin", wait=True)
    reader.subscribe("/queue/lab", id="1", ack="client-individual")

    class Listener(library.ConnectionListener):
        def on_message(self, frame: Any) -> None:
            reader.ack(frame.headers["ack"])

    reader.set_listener("", Listener())
    writer = library.Connection12([(HOST, 61613)])
    writer.connect("admin", "admin", wait=True)
    for n in range(40):
        writer.send("/queue/lab", "m" * (20 + 50 * n), receipt=f"r{n}")
        time.sleep(0.06 if n != 20 else 3)
    writer.disconnect()
    reader.disconnect()


def ldap() -> None:
    """An application that binds once and searches, and one that binds for each."""
    from ldap3 import Connection, Server

    for n in range(12):
        one = Connection(Server(HOST, 3890, get_info="NO_INFO"), auto_bind=True)
        one.search("cn=monitor", "(objectClass=*)", attributes=["*"])
        if n % 3 == 0:
            for _ in range(20):
                one.search("", "(objectClass=*)", "BASE", attributes=["+"])
                time.sleep(0.03)
        one.unbind()
        time.sleep(0.1)


def imap() -> None:
    """A reader of mail: a list, a large message, IDLE for some seconds, an APPEND."""
    import imaplib

    one = imaplib.IMAP4(HOST, 1430, timeout=8)
    one.login("lab", "lab")
    for n in range(8):
        one.append("INBOX", None, None, b"Subject: lab\r\n\r\n" + b"text of a mail\r\n" * (10 + 4000 * (n % 3)))
    one.select("INBOX")
    one.search(None, "ALL")
    for n in range(1, 9):
        one.fetch(str(n), "(RFC822.HEADER)")
        one.fetch(str(n), "(RFC822)")
    one.send(b"A1 IDLE\r\n")
    one.readline()
    time.sleep(4)
    one.send(b"DONE\r\n")
    one.readline()
    with suppress(Exception):
        one.logout()


def thrift() -> None:
    """Calls over a kept connection, some large, some late."""
    import thriftpy2
    from thriftpy2.rpc import make_client

    client = make_client(thriftpy2.load("lab.thrift", "lab_thrift").Lab, HOST, 8080, timeout=8000)
    for n in range(60):
        client.echo("x" * (10 + 300 * (n % 20)))
        if n % 15 == 0:
            client.late()
        time.sleep(0.04)
    client.close()


def thrift_server() -> None:
    """Serve the calls of `thrift`."""
    import thriftpy2
    from thriftpy2.rpc import make_server

    class Lab:
        def echo(self, text: str) -> str:
            return text

        def late(self) -> str:
            time.sleep(0.3)
            return "late"

    make_server(thriftpy2.load("lab.thrift", "lab_thrift").Lab, Lab(), "0.0.0.0", 8080, client_timeout=None).serve()


def web(framework: str) -> None:
    """Serve pages with a framework's own server."""
    if framework == "bottle":
        from bottle import Bottle, request, run

        app = Bottle()
        app.route("/small", callback=lambda: "small\n")
        app.route("/late", callback=lambda: time.sleep(0.3) or "late\n")
        app.route("/large", callback=lambda: "x" * 300_000)
        app.route("/rows", callback=lambda: (time.sleep(0.2) or "row of some length\n" for _ in range(8)))
        app.route("/upload", "POST", lambda: str(len(request.body.read())))
        run(app, host="0.0.0.0", port=8080, quiet=True)
    if framework == "klein":
        from klein import Klein
        from twisted.internet import reactor, task

        app = Klein()
        app.route("/small")(lambda _: "small\n")
        app.route("/late")(lambda _: task.deferLater(reactor, 0.3, lambda: "late\n"))
        app.route("/large")(lambda _: "x" * 300_000)
        app.route("/upload", methods=["POST"])(lambda asked: str(len(asked.content.read())))
        app.run("0.0.0.0", 8080)
    if framework == "pyramid":
        from pyramid.config import Configurator
        from pyramid.response import Response
        from waitress import serve

        with Configurator() as config:
            for name, body in (("small", b"small\n"), ("large", b"x" * 300_000), ("upload", b"20000")):
                config.add_route(name, f"/{name}")
                config.add_view(lambda _, body=body: Response(body), route_name=name)
            serve(config.make_wsgi_app(), host="0.0.0.0", port=8080, channel_timeout=3, cleanup_interval=1)


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
