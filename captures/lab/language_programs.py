"""Programs for programs.py in uncommon languages: their HTTP stacks, each with its own client."""

# ruff: noqa: E501, for the command lines and files of these programs

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

from program import (
    ALONE,
    HELD,
    KILLED,
    NAGLE,
    Program,
    Serve,
    Words,
    command,
    http_client,
    shell,
)
from scenario import PEERS, Lab

HERE = PEERS / "languages"

BUILT = os.environ.get("BUILT", "")


def built(build: str, words: str) -> Serve:
    """Return a server that is built once by a command line, in the folder named by BUILT, or in that of the lab.

    In the command line, {here} is the folder of the sources. The program is in the subfolder `built`.
    """

    def serve(lab: Lab) -> None:
        folder = Path(BUILT or lab.folder) / str(zlib.crc32(build.encode()))
        if not (folder / "done").exists():
            folder.mkdir(parents=True, exist_ok=True)
            lab.server.run("sh", "-c", f"{build.replace('{here}', str(HERE))} && touch done", timeout=500, cwd=folder)
        (lab.folder / "built").unlink(missing_ok=True)
        (lab.folder / "built").symlink_to(folder)
        command(words.replace("{here}", str(HERE)))(lab)

    return serve


def compiled(name: str, title: str, build: str, words: str, use: tuple[Words, ...], needs: str, **more: Any) -> Program:
    """Return a program that is built with one command line and started with another, with its clients and its compiler."""
    return Program(name, title, built(build, words), use, (needs,), must=KILLED, **more)


def here(words: str) -> Words:
    """Return a command line for the shell, in which {here} is the folder of the sources."""
    return shell(words.replace("{here}", str(HERE)))


DANCER = "plackup -E deployment -s HTTP::Server::PSGI -p 8080 {here}/app.psgi"

LUA = "lua5.3 {here}/client.lua"

LANGUAGES = (
    compiled(
        "nim",
        "Nim: asynchttpserver and httpclient",
        "nim c --verbosity:0 --opt:none --nimcache:s -o:server {here}/server.nim && nim c --verbosity:0 --opt:none --nimcache:c -o:client {here}/client.nim",
        "built/server",
        (shell("built/client"), http_client("httpx")),
        "nim",
        seconds=25,
    ),
    Program(
        "racket",
        "Racket: its web server, net/http-client and net/url",
        command(f"racket {HERE}/server.rkt"),
        (shell(f"racket {HERE}/client.rkt"), shell(LUA.replace("{here}", str(HERE)))),
        ("racket",),
        may={NAGLE: HELD, "unchunked-streaming": "a client that says Connection: close gets no chunks"},
        must=KILLED,
        seconds=25,
    ),
    Program(
        "httpuv",
        "R: httpuv, download.file and the package curl",
        command(f"Rscript {HERE}/server.R"),
        (shell(f"Rscript {HERE}/client.R"), http_client("httpx")),
        ("Rscript",),
        may={**ALONE, NAGLE: HELD, "body-not-allowed": "its 204 has chunks"},
        must=KILLED,
        seconds=25,
    ),
    compiled(
        "mono",
        "Mono: HttpListener, HttpClient and WebClient",
        "mcs -out:server.exe {here}/server.cs && mcs -out:client.exe -r:System.Net.Http {here}/client.cs",
        "mono built/server.exe",
        (shell("mono built/client.exe"), http_client("httpx")),
        "mcs",
        may={NAGLE: HELD},
        seconds=28,
    ),
    compiled(
        "inets",
        "Erlang/OTP: httpd and httpc of inets",
        "erlc {here}/answer.erl",
        "erl -noshell -pa built -s answer serve",
        (shell("erl -noshell -pa built -s answer use"), shell(LUA.replace("{here}", str(HERE)))),
        "erlc",
        may={NAGLE: HELD},
        seconds=25,
    ),
    compiled(
        "httplib",
        "C++: cpp-httplib, with clients that keep connections and one that does not",
        "g++ -O1 -pthread {here}/httplib.cpp -o it -lcpp-httplib -lssl -lcrypto",
        "built/it serve",
        (shell("built/it keep"), shell("built/it each")),
        "g++",
        may={**ALONE, NAGLE: HELD},
        seconds=30,
    ),
    compiled(
        "poco",
        "C++: POCO's HTTPServer and HTTPClientSession",
        "g++ -O1 {here}/poco.cpp -o it -lPocoNet -lPocoFoundation",
        "built/it serve",
        (shell("built/it use"), http_client("httpx")),
        "g++",
        seconds=25,
    ),
    compiled(
        "pascal",
        "Free Pascal: TFPHttpServer and TFPHTTPClient",
        "fpc -v0 -FU. -FE. {here}/server.pas && fpc -v0 -FU. -FE. {here}/client.pas",
        "built/server",
        (shell("built/client"), http_client("httpx")),
        "fpc",
        may={"keep-alive-race": "its server closes without saying so, and its client does not look"},
        seconds=25,
    ),
    Program(
        "dancer",
        "Perl: Dancer2 on HTTP::Server::PSGI; LuaSocket",
        command(DANCER.replace("{here}", str(HERE))),
        (here(LUA), http_client("httpx")),
        ("plackup", "lua5.3"),
        may={"unchunked-streaming": "HTTP::Server::PSGI answers as HTTP/1.0"},
        must=KILLED,
        seconds=25,
    ),
)
"""Stacks in other languages."""
