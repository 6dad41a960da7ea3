"""Check the programs that the recordings need: whether they are installed, in which version, and where to get them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Program:
    """A program, or a Python module: how its version is read, and what installs it."""

    command: tuple[str, ...]
    install: str
    label: str = "{version}"


def _module(name: str, label: str = "") -> Program:
    code = f"import importlib.metadata; print(importlib.metadata.version({name!r}))"
    return Program((sys.executable, "-c", code), f"pip install {name}", f"{label or name} {{version}}")


def _package(name: str, *version: str, package: str = "", label: str = "") -> Program:
    return Program((name, *version), f"apt-get install {package or name}", f"{label or name} {{version}}")


def _jar(name: str, package: str, label: str) -> Program:
    return Program(("sh", "-c", f"ls /usr/share/java/{name}-[0-9]*.jar"), f"apt-get install {package}", f"{label} {{version}}")


def _gem(name: str, module: str) -> Program:
    code = f"require {name!r}; puts {module}::VERSION"
    return Program(("ruby", "-e", code), f"apt-get install ruby-{name.replace('/', '-')}", f"{module} {{version}}")


LAB = ("tcpdump", "tshark", "editcap", "dumpcap", "ip", "ss", "ethtool")
"""The programs that every recording and its label need."""

PROGRAMS = {
    "tcpdump": Program(("tcpdump", "--version"), "apt-get install tcpdump", "tcpdump {version}"),
    "tshark": Program(("tshark", "--version"), "apt-get install tshark", "tshark {version}"),
    "editcap": Program(("editcap", "--version"), "apt-get install wireshark-common", "editcap {version}"),
    "dumpcap": Program(("dumpcap", "--version"), "apt-get install wireshark-common", "dumpcap {version}"),
    "ip": Program(("ip", "-V"), "apt-get install iproute2"),
    "ss": Program(("ss", "-V"), "apt-get install iproute2"),
    "ethtool": Program(("ethtool", "--version"), "apt-get install ethtool"),
    "nginx": Program(("nginx", "-v"), "apt-get install nginx-light", "nginx {version}"),
    "apache2": Program(("apache2", "-v"), "apt-get install apache2", "Apache httpd {version}"),
    "curl": Program(("curl", "--version"), "apt-get install curl", "curl {version}"),
    "ab": Program(("ab", "-V"), "apt-get install apache2-utils", "ab {version}"),
    "node": Program(("node", "--version"), "apt-get install nodejs", "node {version}"),
    "openssl": Program(("openssl", "version"), "apt-get install openssl", "OpenSSL {version}"),
    "java": Program(("java", "-version"), "apt-get install openjdk-17-jdk-headless", "OpenJDK {version}, com.sun.net.httpserver"),
    "perl": Program(("perl", "-MHTTP::Tiny", "-e", "print $HTTP::Tiny::VERSION"), "apt-get install perl", "HTTP::Tiny {version}"),
    "mojolicious": Program(
        ("perl", "-MMojolicious", "-e", "print Mojolicious->VERSION"),
        "apt-get install libmojolicious-perl",
        "Mojolicious {version}",
    ),
    "python": Program((sys.executable, "--version"), "apt-get install python3", "Python {version}"),
    "lighttpd": _package("lighttpd", "-v"),
    "haproxy": _package("haproxy", "-v", label="HAProxy"),
    "varnish": _package("varnishd", "-V", package="varnish", label="Varnish"),
    "squid": _package("squid", "-v", label="Squid"),
    "caddy": _package("caddy", "version", label="Caddy"),
    "go": _package("go", "version", package="golang-go", label="Go"),
    "php": _package("php", "-v", package="php-cli", label="PHP"),
    "jetty": Program(("sh", "-c", "ls /usr/share/jetty9/lib/jetty-server-*.jar"), "apt-get install jetty9", "Jetty {version}"),
    "tomcat": Program(("sh", "/usr/share/tomcat10/bin/version.sh"), "apt-get install tomcat10", "Tomcat {version}"),
    "java-client": Program(("java", "-version"), "apt-get install openjdk-17-jdk-headless", "OpenJDK {version}, java.net.http"),
    "okhttp": _jar("okhttp", "libokhttp-java", "OkHttp"),
    "httpclient4": _jar("httpclient", "libhttpclient-java", "Apache HttpClient"),
    "httpclient5": _jar("httpclient5", "libhttpclient5-java", "Apache HttpClient"),
    "dotnet": _module("dotnetcore2", ".NET Core"),
    "pyreqwest": _module("pyreqwest", "reqwest, in pyreqwest"),
    "net-http-persistent": _gem("net/http/persistent", "Net::HTTP::Persistent"),
    "excon": _gem("excon", "Excon"),
    "guzzle": Program(
        ("sh", "-c", "dpkg-query -W php-guzzlehttp-guzzle"),
        "apt-get install php-guzzlehttp-guzzle php-curl php-cli",
        "Guzzle {version}",
    ),
    "chromium": _package("chromium", "--version", label="Chromium"),
    "wget": _package("wget", "--version", label="Wget"),
    "wrk": Program(("sh", "-c", "wrk -v || true"), "apt-get install wrk", "wrk {version}"),
    "undici": Program(("node", "-p", "process.versions.undici"), "apt-get install nodejs", "undici {version} (node's fetch)"),
    "ssh": Program(("ssh", "-V"), "apt-get install openssh-server openssh-client", "OpenSSH {version}"),
    "redis-server": _package("redis-server", "--version", label="Redis"),
    "postgres": _package("postgres", "--version", package="postgresql", label="PostgreSQL"),
    "redis": _module("redis", "redis-py"),
    **{
        name: _module(name)
        for name in (
            "requests",
            "urllib3",
            "httpx",
            "aiohttp",
            "gunicorn",
            "waitress",
            "uvicorn",
            "hypercorn",
            "werkzeug",
            "websockets",
            "aiosmtpd",
        )
    },
}


def missing(names: set[str]) -> list[str]:
    """Return a line for each of these programs that is missing, with the command that installs it."""
    return sorted(f"{name} is missing: {PROGRAMS[name].install}" for name in names if not _said(name))


def version(name: str) -> str:
    """Return name and version of a program, as in labels."""
    found = re.search(r"\d+(\.\d+)+", _said(name))
    return PROGRAMS[name].label.format(version=found[0] if found else "of unknown version")


def dotnet() -> str:
    """Return the path of the program that runs .NET assemblies, from the package dotnetcore2."""
    found = importlib.util.find_spec("dotnetcore2")
    assert found, missing({"dotnet"})
    assert found.submodule_search_locations
    program = Path(found.submodule_search_locations[0]) / "bin/dotnet"
    program.chmod(0o755)
    return str(program)


def _said(name: str) -> str:
    command = PROGRAMS[name].command
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode else done.stdout + done.stderr
