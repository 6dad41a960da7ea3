"""A TLS server of Python's ssl, or a client of ssl, requests or aiohttp, from settings in JSON."""

import asyncio
import json
import socket
import ssl
import sys
import threading
import time

s = json.loads(sys.argv[1])
VERSIONS = {"1.0": ssl.TLSVersion.TLSv1, "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def context(purpose: ssl.Purpose) -> ssl.SSLContext:
    """Return the context that the settings describe."""
    made = ssl.create_default_context(purpose, cafile=s["verify"] or s["trusted"] or None)
    if s["minimum"]:
        made.minimum_version = VERSIONS[s["minimum"]]
    if s["maximum"]:
        made.maximum_version = VERSIONS[s["maximum"]]
    if s["ciphers"]:
        made.set_ciphers(s["ciphers"])
    if s["chain"]:
        made.load_cert_chain(s["chain"], s["key"])
    if s["protocols"]:
        made.set_alpn_protocols(s["protocols"])
    if s["role"] == "server" and s["verify"]:
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def answer(connection: socket.socket, made: ssl.SSLContext) -> None:
    """Answer requests on a connection until the client closes it."""
    try:
        time.sleep(s["pause"])
        with made.wrap_socket(connection, server_side=True) as tls:
            while tls.recv(65536):
                tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")
    except OSError as error:
        print(error, file=sys.stderr)
        connection.close()


def serve() -> None:
    """Serve until the process is killed."""
    made = context(ssl.Purpose.CLIENT_AUTH)
    host, port = s["address"].split(":")
    with socket.create_server((host, int(port))) as listener:
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0], made), daemon=True).start()


def ask_with_ssl() -> None:
    """Send each request on a connection of its own, and resume the session if there is one."""
    made, session = context(ssl.Purpose.SERVER_AUTH), None
    for _ in range(s["requests"]):
        host, port = s["address"].split(":")
        plain = socket.create_connection((host, int(port)), timeout=s["timeout"])
        with made.wrap_socket(plain, server_hostname=s["name"], session=session) as tls:
            time.sleep(s["pause"])
            if s["path"]:
                tls.sendall(f"GET / HTTP/1.1\r\nHost: {s['name']}\r\n\r\n".encode())
                tls.recv(65536)
            session = tls.session


def ask_with_requests() -> None:
    """Send requests with the library requests."""
    import requests

    for _ in range(s["requests"]):
        own = (s["chain"], s["key"]) if s["chain"] else None
        requests.get(s["path"], verify=s["trusted"] or True, cert=own, timeout=s["timeout"])


async def ask_with_aiohttp() -> None:
    """Send requests with the library aiohttp."""
    import aiohttp

    made = context(ssl.Purpose.SERVER_AUTH)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=s["timeout"])) as session:
        for _ in range(s["requests"]):
            async with session.get(s["path"], ssl=made) as response:
                await response.read()


if s["role"] == "server":
    serve()
elif s["library"] == "requests":
    ask_with_requests()
elif s["library"] == "aiohttp":
    asyncio.run(ask_with_aiohttp())
else:
    ask_with_ssl()
