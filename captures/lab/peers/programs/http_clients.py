"""Use a server with an HTTP client: python http_clients.py CLIENT HOST PORT."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

UPLOAD = b"u" * 20_000
Ask = Callable[[str, str, bytes | None], None]


def session(url: str, ask: Ask) -> None:
    """A session: small pages, a late one, an upload, a stream, pauses, a large page, a HEAD."""

    def quietly(method: str, path: str, body: bytes | None = None) -> None:
        try:
            ask(method, url + path, body)
        except Exception as error:  # noqa: BLE001, every client has errors of its own
            print(f"{time.time():.3f} {method} {path}: {type(error).__name__} {error}", file=sys.stderr, flush=True)

    for _ in range(5):
        quietly("GET", "/small")
        time.sleep(0.2)
    quietly("GET", "/late")
    quietly("POST", "/upload", UPLOAD)
    quietly("GET", "/rows")
    time.sleep(2.5)
    quietly("HEAD", "/small")
    quietly("GET", "/large")
    quietly("GET", "/events")
    quietly("GET", "/empty")
    quietly("GET", "/small")


def pycurl(url: str) -> None:
    """libcurl's easy interface, one handle for all."""
    from io import BytesIO

    import pycurl as library

    curl = library.Curl()

    def ask(method: str, target: str, body: bytes | None) -> None:
        curl.reset()
        curl.setopt(library.URL, target)
        curl.setopt(library.TIMEOUT, 10)
        curl.setopt(library.WRITEDATA, BytesIO())
        if method == "HEAD":
            curl.setopt(library.NOBODY, True)
        if body is not None:
            curl.setopt(library.POST, True)
            curl.setopt(library.READDATA, BytesIO(body))
            curl.setopt(library.POSTFIELDSIZE, len(body))
        curl.perform()

    session(url, ask)


def primp(url: str) -> None:
    """Reqwest and hyper (Rust)."""
    import primp as library

    client = library.Client(timeout=10)

    def ask(method: str, target: str, body: bytes | None) -> None:
        bytes(client.request(method, target, content=body).content)

    session(url, ask)


def niquests(url: str) -> None:
    """A session of niquests, which reads streams as they come."""
    import niquests as library

    with library.Session() as client:

        def ask(method: str, target: str, body: bytes | None) -> None:
            with client.request(method, target, timeout=15, data=body, stream=target.endswith(("/rows", "/events"))) as response:
                for _ in response.iter_content(4096):
                    pass

        session(url, ask)


def geventhttpclient(url: str) -> None:
    """Gevent's HTTP client."""
    from geventhttpclient.useragent import UserAgent

    client = UserAgent(concurrency=2, network_timeout=10, connection_timeout=5, max_retries=1)

    def ask(method: str, target: str, body: bytes | None) -> None:
        client.urlopen(target, method=method, payload=body or "", headers={}).read()

    session(url, ask)


def httpx(url: str) -> None:
    """A client of httpx."""
    import httpx as library

    with library.Client(timeout=10) as client:

        def ask(method: str, target: str, body: bytes | None) -> None:
            client.request(method, target, content=body)

        session(url, ask)


def s3(url: str) -> None:
    """boto3: a bucket, small and large objects, a multipart upload, ranges, lists, deletes."""
    import io

    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config

    client: Any = boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id="a",
        aws_secret_access_key="b",
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 2}, read_timeout=8, s3={"addressing_style": "path"}),
    )
    parts = TransferConfig(multipart_threshold=5_242_880, multipart_chunksize=5_242_880, max_concurrency=3)

    def quietly(work: Callable[[], Any]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001, as above
            print(f"{time.time():.3f} {type(error).__name__} {error}", file=sys.stderr, flush=True)

    quietly(lambda: client.create_bucket(Bucket="lab"))
    for n in range(5):
        quietly(lambda n=n: client.put_object(Bucket="lab", Key=f"o{n}", Body=UPLOAD))
        quietly(lambda n=n: client.get_object(Bucket="lab", Key=f"o{n}")["Body"].read())
        time.sleep(0.3)
    quietly(lambda: client.upload_fileobj(io.BytesIO(b"m" * 11_000_000), "lab", "big", Config=parts))
    quietly(lambda: client.download_fileobj("lab", "big", io.BytesIO(), Config=parts))
    quietly(lambda: client.get_object(Bucket="lab", Key="none"))
    quietly(lambda: client.list_objects_v2(Bucket="lab"))
    time.sleep(2)
    quietly(lambda: client.delete_object(Bucket="lab", Key="o1"))
    quietly(lambda: client.head_object(Bucket="lab", Key="o2"))


def metrics(url: str) -> None:
    """Write lines to InfluxDB every 0.4 s, and ask for them."""
    import requests

    writer, reader = requests.Session(), requests.Session()
    for n in range(14):
        try:
            if not n:
                reader.post(f"{url}/query", params={"q": "CREATE DATABASE lab"}, timeout=5)
            lines = "\n".join(f"load,host=h{h} value={n}" for h in range(100))
            writer.post(f"{url}/write?db=lab", data=lines, timeout=5)
            reader.get(f"{url}/query", params={"db": "lab", "q": "SELECT mean(value) FROM load", "chunked": "true"}, timeout=5)
        except requests.RequestException as error:
            print(f"{time.time():.3f} {error}", file=sys.stderr, flush=True)
        time.sleep(0.4)


if __name__ == "__main__":
    globals()[sys.argv[1]](f"http://{sys.argv[2]}:{sys.argv[3]}")
