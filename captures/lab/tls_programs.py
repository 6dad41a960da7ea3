"""The servers and clients of tls_handshakes.py: how each is started with the same settings."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from network import stop
from scenario import PEERS, Lab
from tls_certificates import NAME

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

PORT = 443
PYTHON = os.environ.get("TLS_PYTHON", sys.executable)
"""An interpreter with requests and aiohttp."""


@dataclass(frozen=True)
class Serving:
    """Settings of a server. `verify`: it asks for a client certificate. `strict`: it refuses names that it does not have.

    `limit`: the time in seconds that it waits for a request, if not the default.
    """

    program: str
    certificate: str = "good"
    minimum: str = ""
    maximum: str = ""
    ciphers: str = ""
    groups: str = ""
    protocols: tuple[str, ...] = ()
    verify: bool = False
    strict: bool = False
    tickets: bool = True
    pause: float = 0.0
    limit: float = 0.0


@dataclass(frozen=True)
class Using:
    """Settings of a client. `program`: with the library after a colon. `certificate`: of the client."""

    program: str
    trusts: bool = True
    name: str = NAME
    certificate: str = ""
    minimum: str = ""
    maximum: str = ""
    ciphers: str = ""
    groups: str = ""
    protocols: tuple[str, ...] = ()
    timeout: float = 4.0
    requests: int = 1
    pause: float = 0.0
    scheme: str = "https"
    asks: bool = True


def _settings(one: Serving | Using, folder: Path, role: str, **more: object) -> str:
    """Return the settings for the peers in Go, JavaScript and Python."""
    verify = str(folder / "ca.pem") if isinstance(one, Serving) and one.verify else ""
    trusted = str(folder / "ca.pem") if isinstance(one, Using) and one.trusts else ""
    chain, key = (str(folder / f"{one.certificate}.{end}") if one.certificate else "" for end in ("pem", "key"))
    base = {"role": role, "verify": verify, "trusted": trusted, "chain": chain, "key": key, "minimum": one.minimum}
    base |= {"maximum": one.maximum, "ciphers": one.ciphers, "protocols": one.protocols, "pause": one.pause}
    return json.dumps(base | more)


def _openssl(lab: Lab, s: Serving, binaries: Path) -> list[str]:
    del lab, binaries
    words = ["openssl", "s_server", "-accept", str(PORT), "-cert", f"{s.certificate}.pem", "-cert_chain", f"{s.certificate}.pem"]
    words += ["-key", f"{s.certificate}.key", "-www", "-quiet"]
    words += _openssl_versions(s) + (["-num_tickets", "0", "-no_ticket"] if not s.tickets else [])
    words += ["-Verify", "3", "-verify_return_error", "-CAfile", "ca.pem"] if s.verify else []
    words += ["-servername", NAME, "-servername_fatal", "-cert2", "good.pem", "-key2", "good.key"] if s.strict else []
    return words


def _openssl_versions(s: Serving | Using) -> list[str]:
    words: list[str] = []
    for option, value in (("-min_protocol", s.minimum), ("-max_protocol", s.maximum)):
        words += [option, {"1.0": "TLSv1", "1.1": "TLSv1.1", "1.2": "TLSv1.2", "1.3": "TLSv1.3"}[value]] if value else []
    words += ["-cipher", s.ciphers] if s.ciphers else []
    words += ["-groups", s.groups] if s.groups else []
    return words + (["-alpn", ",".join(s.protocols)] if s.protocols else [])


def _nginx(lab: Lab, s: Serving, binaries: Path) -> list[str]:
    del binaries
    versions = [v for v in ("1.0", "1.1", "1.2", "1.3") if (s.minimum or "1.2") <= v <= (s.maximum or "1.3")]
    lines = [f"ssl_certificate {lab.folder}/{s.certificate}.pem;", f"ssl_certificate_key {lab.folder}/{s.certificate}.key;"]
    lines += ["ssl_protocols " + " ".join("TLSv1" if v == "1.0" else f"TLSv{v}" for v in versions) + ";"]
    lines += [f"ssl_ciphers {s.ciphers};"] if s.ciphers else []
    lines += [f"ssl_ecdh_curve {s.groups};"] if s.groups else []
    lines += [f"ssl_session_tickets {'on' if s.tickets else 'off'};"]
    lines += [f"client_header_timeout {s.limit:g}s;"] if s.limit else []
    lines += [f"ssl_verify_client on; ssl_client_certificate {lab.folder}/ca.pem;"] if s.verify else []
    server = " ".join(lines)
    refused = f"server {{ listen {PORT} ssl default_server; ssl_reject_handshake on; }}" if s.strict else ""
    text = (
        "daemon off; worker_processes 1; pid nginx.pid; error_log stderr; events {} http { access_log off; "
        f"{refused} server {{ listen {PORT} ssl; server_name {NAME}; {server} "
        'location / { return 200 "hello\\n"; } } }'
    )
    (lab.folder / "nginx.conf").write_text(text)
    return ["nginx", "-p", str(lab.folder), "-c", "nginx.conf"]


def _haproxy(lab: Lab, s: Serving, binaries: Path) -> list[str]:
    del binaries
    more = f" ssl-min-ver TLSv{s.minimum}" if s.minimum else ""
    more += f" ssl-max-ver TLSv{s.maximum}" if s.maximum else ""
    more += f" ciphers {s.ciphers}" if s.ciphers else ""
    more += f" verify required ca-file {lab.folder}/ca.pem" if s.verify else ""
    more += " strict-sni" if s.strict else ""
    (lab.folder / "haproxy.cfg").write_text(
        "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 1s\n"
        f"frontend f\n timeout http-request {s.limit or 5:g}s\n"
        f" bind :{PORT} ssl crt {lab.folder}/{s.certificate}-both.pem{more}\n"
        ' http-request return status 200 content-type text/plain string "hello"\n'
    )
    return ["haproxy", "-f", "haproxy.cfg"]


def _apache(lab: Lab, s: Serving, binaries: Path) -> list[str]:
    del binaries
    modules = "/usr/lib/apache2/modules"
    versions = [v for v in ("1.2", "1.3") if (s.minimum or "1.2") <= v <= (s.maximum or "1.3")]
    (lab.folder / "index.html").write_text("hello\n")
    names = ("mpm_event", "authz_core", "ssl", "socache_shmcb")
    lines = [f"LoadModule {name}_module {modules}/mod_{name}.so" for name in names]
    lines += [f"ServerRoot {lab.folder}", f"PidFile {lab.folder}/apache.pid", f"ErrorLog {lab.folder}/error.log"]
    lines += [f"ServerName {NAME}", f"Listen {PORT}", f"DocumentRoot {lab.folder}", "User www-data", "Group www-data"]
    lines += ["SSLEngine on", f"SSLCertificateFile {lab.folder}/{s.certificate}.pem"]
    lines += [f"SSLCertificateKeyFile {lab.folder}/{s.certificate}.key"]
    lines += ["SSLProtocol " + " ".join(f"+TLSv{v}" for v in versions)]
    lines += [f"SSLCipherSuite {s.ciphers}"] if s.ciphers else []
    lines += ["SSLVerifyClient require", f"SSLCACertificateFile {lab.folder}/ca.pem"] if s.verify else []
    (lab.folder / "apache.conf").write_text("\n".join(lines) + "\n")
    return ["apache2", "-f", f"{lab.folder}/apache.conf", "-DFOREGROUND"]


def _stunnel(lab: Lab, s: Serving, binaries: Path) -> list[str]:
    del binaries
    lines = ["foreground = yes", "pid =", "[tls]", f"accept = {PORT}", f"cert = {lab.folder}/{s.certificate}.pem"]
    (lab.folder / "answer.sh").write_text("head -c 10 >/dev/null; printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhello'; sleep 0.1\n")
    lines += [f"key = {lab.folder}/{s.certificate}.key", "exec = /bin/sh", f"execArgs = sh {lab.folder}/answer.sh"]
    lines += [f"sslVersionMin = TLSv{s.minimum}"] if s.minimum else []
    lines += [f"sslVersionMax = TLSv{s.maximum}"] if s.maximum else []
    lines += [f"ciphers = {s.ciphers}"] if s.ciphers else []
    lines += ["verifyChain = yes", f"CAfile = {lab.folder}/ca.pem"] if s.verify else []
    (lab.folder / "stunnel.conf").write_text("\n".join(lines) + "\n")
    return ["stunnel", str(lab.folder / "stunnel.conf")]


def _go(lab: Lab, s: Serving, binaries: Path) -> list[str]:
    settings = _settings(s, lab.folder, "server", Address=f":{PORT}", tickets=s.tickets)
    return [str(binaries / "tls_peer"), settings]


def _node(lab: Lab, s: Serving, binaries: Path) -> list[str]:
    del binaries
    return ["node", str(PEERS / "tls_peer.mjs"), _settings(s, lab.folder, "server", address=f"0.0.0.0:{PORT}")]


def _python(lab: Lab, s: Serving, binaries: Path) -> list[str]:
    del binaries
    return [PYTHON, str(PEERS / "tls_peer.py"), _settings(s, lab.folder, "server", address=f"0.0.0.0:{PORT}")]


LISTENER = """
import socket, struct, sys, time
how, after = sys.argv[1], float(sys.argv[2])
listener = socket.create_server(("0.0.0.0", 443))
kept = []
while True:
    connection, _ = listener.accept()
    if how in ("close", "reset", "http"):
        connection.recv(65536)
    time.sleep(after)
    if how == "http":
        connection.sendall(b"HTTP/1.1 400 Bad Request\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if how == "silent":
        kept.append(connection)
    else:
        connection.close()
"""


def _listener(how: str, after: float = 0.0) -> Callable[[Lab, Serving, Path], list[str]]:
    return lambda _lab, _serving, _binaries: [sys.executable, "-c", LISTENER, how, str(after)]


SERVERS: dict[str, Callable[[Lab, Serving, Path], list[str]]] = {
    "openssl": _openssl,
    "nginx": _nginx,
    "haproxy": _haproxy,
    "apache": _apache,
    "stunnel": _stunnel,
    "go": _go,
    "node": _node,
    "python": _python,
    "closes": _listener("close"),
    "resets": _listener("reset"),
    "closes-late": _listener("close", 3.5),
    "closes-unread": _listener("unread"),
    "silent": _listener("silent"),
    "plain": _listener("http"),
}


def serve(lab: Lab, serving: Serving, binaries: Path) -> subprocess.Popen[bytes]:
    """Start the server, and wait until it listens."""
    words = SERVERS[serving.program](lab, serving, binaries)
    with (lab.folder / "server.log").open("wb") as log:
        process = lab.server.start(*words, stdin=-3, stdout=log, stderr=log, cwd=lab.folder)
    lab.server.wait_for_listener(PORT)
    return process


def end(lab: Lab, process: subprocess.Popen[bytes]) -> None:
    """End the server."""
    lab.server.started.remove(process)
    stop(process, signal.SIGKILL)


def use(lab: Lab, u: Using, binaries: Path) -> None:
    """Run the client until it ends. Keep its output as client.log."""
    url = f"{u.scheme}://{u.name}:{PORT}/"
    program, _, library = u.program.partition(":")
    one = USERS[program](lab, u, url, library, binaries)
    repeated = 1 if program in REPEATS else u.requests
    text = b""
    for _ in range(repeated):
        done = lab.client.run(*one, timeout=u.timeout + 20, check=False, cwd=lab.folder, input=b"")
        text += done.stdout + done.stderr
    (lab.folder / "client.log").write_bytes(text)


def _curl(lab: Lab, u: Using, url: str, library: str, binaries: Path) -> list[str]:
    del lab, library, binaries
    words = ["curl", "-sS", "--max-time", str(u.timeout), "-o", "/dev/null"]
    words += ["--cacert", "ca.pem"] if u.trusts else []
    words += ["--cert", f"{u.certificate}.pem", "--key", f"{u.certificate}.key"] if u.certificate else []
    words += [f"--tlsv{u.minimum}"] if u.minimum else []
    words += ["--tls-max", u.maximum] if u.maximum else []
    words += ["--ciphers", u.ciphers] if u.ciphers else []
    words += ["--curves", u.groups] if u.groups else []
    return [*words, url]


def _wget(lab: Lab, u: Using, url: str, library: str, binaries: Path) -> list[str]:
    del lab, library, binaries
    words = ["wget", "-nv", "-O", "/dev/null", "--tries=1", f"--timeout={u.timeout:g}"]
    words += ["--ca-certificate=ca.pem"] if u.trusts else []
    words += [f"--certificate={u.certificate}.pem", f"--private-key={u.certificate}.key"] if u.certificate else []
    words += [f"--secure-protocol=TLSv{u.minimum.replace('.', '_')}"] if u.minimum else []
    words += [f"--ciphers={u.ciphers}"] if u.ciphers else []
    return [*words, url]


def _s_client(lab: Lab, u: Using, url: str, library: str, binaries: Path) -> list[str]:
    del lab, url, library, binaries
    words = ["openssl", "s_client", "-connect", f"10.9.0.2:{PORT}", "-servername", u.name, "-verify_return_error"]
    words += ["-verify_hostname", u.name] + (["-CAfile", "ca.pem"] if u.trusts else [])
    words += ["-cert", f"{u.certificate}.pem", "-key", f"{u.certificate}.key"] if u.certificate else []
    words += [*_openssl_versions(u), "-quiet"]
    request = f"(sleep {u.pause or 0.3}; printf 'GET / HTTP/1.0\\r\\n\\r\\n'; sleep 0.5)"
    return ["sh", "-c", f"{request} | timeout {u.timeout:g} {' '.join(words)}"]


def _gnutls(lab: Lab, u: Using, url: str, library: str, binaries: Path) -> list[str]:
    del lab, url, library, binaries
    words = ["gnutls-cli", "-p", str(PORT), u.name] + (["--x509cafile=ca.pem"] if u.trusts else [])
    words += [f"--x509certfile={u.certificate}.pem", f"--x509keyfile={u.certificate}.key"] if u.certificate else []
    words += [f"--priority=NORMAL:-VERS-ALL:+VERS-TLS{u.maximum}"] if u.maximum else []
    words += [f"--alpn={name}" for name in u.protocols]
    request = f"(sleep {u.pause or 0.3}; printf 'GET / HTTP/1.0\\r\\n\\r\\n'; sleep 0.5)"
    return ["sh", "-c", f"{request} | timeout {u.timeout:g} {' '.join(words)}"]


def _git(lab: Lab, u: Using, url: str, library: str, binaries: Path) -> list[str]:
    """Return git, whose libcurl uses GnuTLS."""
    del library, binaries
    more = f" GIT_SSL_CAINFO={lab.folder}/ca.pem" if u.trusts else ""
    return ["sh", "-c", f"GIT_TERMINAL_PROMPT=0{more} timeout {u.timeout:g} git ls-remote {url}"]


def _peer(*words: str) -> Callable[[Lab, Using, str, str, Path], list[str]]:
    def command(lab: Lab, u: Using, url: str, library: str, binaries: Path) -> list[str]:
        place = {"address": f"10.9.0.2:{PORT}", "name": u.name, "path": url if u.asks else "", "library": library or "ssl"}
        settings = _settings(u, lab.folder, "client", **place, timeout=u.timeout, requests=u.requests, tickets=True)
        if words[0] == "go":
            return [str(binaries / "tls_peer"), settings.replace('"ciphers"', '"unused"')]
        return [*words, settings]

    return command


def _java(lab: Lab, u: Using, url: str, library: str, binaries: Path) -> list[str]:
    words = ["java", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:+UseSerialGC", "-cp", str(binaries)]
    if u.trusts:
        store = lab.folder / "trusted.p12"
        if not store.exists():
            make = ["keytool", "-importcert", "-noprompt", "-file", str(lab.folder / "ca.pem"), "-keystore", str(store)]
            lab.client.run(*make, "-storepass", "changeit", "-storetype", "PKCS12", "-alias", "ca")
        words += [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=changeit"]
    words += [f"-Djdk.tls.client.protocols=TLSv{u.maximum}"] if u.maximum else []
    return [*words, "TlsClient", library or "httpclient", url, str(u.requests), str(u.timeout)]


def _check(lab: Lab, u: Using, url: str, library: str, binaries: Path) -> list[str]:
    """Return haproxy, which checks the server with a ClientHello of SSL 3.0."""
    del url, library, binaries
    (lab.folder / "check.cfg").write_text(
        "defaults\n mode tcp\n timeout client 5s\n timeout server 5s\n timeout connect 1s\n timeout check 1s\n"
        f"listen l\n bind 127.0.0.1:9\n option ssl-hello-chk\n server s 10.9.0.2:{PORT} check inter 1s\n"
    )
    return ["timeout", f"{u.timeout:g}", "haproxy", "-f", "check.cfg"]


USERS: dict[str, Callable[[Lab, Using, str, str, Path], list[str]]] = {
    "curl": _curl,
    "wget": _wget,
    "s_client": _s_client,
    "gnutls": _gnutls,
    "git": _git,
    "go": _peer("go"),
    "node": _peer("node", str(PEERS / "tls_peer.mjs")),
    "python": _peer(PYTHON, str(PEERS / "tls_peer.py")),
    "java": _java,
    "check": _check,
    "connect": lambda *_: [sys.executable, "-c", f"import socket; socket.create_connection(('10.9.0.2', {PORT})).close()"],
}
REPEATS = ("go", "node", "python", "java")
"""Clients that send several requests by themselves."""
