"""Records real HTTP for the benchmarks: wrk against nginx, over a veth pair.

    python tests/benchmarks/record_http.py [--traffic dense|short|bulk] [--packets 1000000] [--output FILE]

`dense`: 64 kept connections, no two request heads alike. `short`: a new connection for every request. `bulk`: downloads of 20 MB.

Run as root on Linux with nginx, wrk, tcpdump, ethtool and iproute2. A million packets take about ten seconds
and a gigabyte.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
sys.path.insert(0, str(HERE.parents[1] / "captures" / "lab"))

from network import Host, cable, tcpdump  # noqa: E402 - its folder is on the path now

CONNECTIONS = 64
BODIES = {"2k": 2_000, "5k": 5_000, "12k": 12_000}
MORE_BODIES = {"100": 100, "100k": 100_000, "1m": 1_000_000, "20m": 20_000_000}
"""Bytes of the files that nginx serves; the latter are not in a recording."""

NGINX = """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream; types {{ text/css css; }}
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 10.9.0.2:80; root {folder}/site; }}
}}
"""

WRK = """\
local files = {"2k", "2k", "2k", "2k", "2k", "2k", "2k", "5k", "5k", "12k"}
local n = 0
wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
wrk.headers["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
wrk.headers["Accept-Language"] = "en-US,en;q=0.5"
wrk.headers["Accept-Encoding"] = "gzip, deflate"
function init(args) math.randomseed(tonumber(args[1])) end
function request()
  n = n + 1
  local id = string.format("%08x-%06x", math.random(0, 0x7fffffff), n)
  wrk.headers["X-Request-Id"] = id
  return wrk.format("GET", "/" .. files[math.random(#files)] .. "?page=" .. n .. "&session=" .. id)
end
"""


TRAFFIC = ("dense", "short", "bulk")


def record(path: Path, packets: int, traffic: str = "dense") -> None:
    """Record exactly this many packets; raises RuntimeError when the kernel dropped one, or it takes too long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, cable() as (client, server, _):
        folder = Path(name)
        folder.chmod(0o755)
        serve(server, folder)
        seconds = 30 + packets // 20_000
        temporary = path.with_suffix(".partial")
        ring = ("-c", str(packets), "-B", "262144")
        with tcpdump(client, temporary, expression="tcp port 80", ring=ring) as captured:
            _load(client, folder, temporary, seconds, traffic)
        if captured.packets < packets:
            raise RuntimeError(f"only {captured.packets} packets in {seconds} s")
        temporary.rename(path)


def serve(server: Host, folder: Path) -> None:
    """Starts nginx; its files are in the folder, which all may read."""
    site = folder / "site"
    site.mkdir()
    for name, size in (BODIES | MORE_BODIES).items():
        line = b"All work and no play makes Jack a dull boy.\n"
        (site / name).write_bytes((line * (size // len(line) + 1))[:size])
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
    server.start("nginx", "-c", str(folder / "nginx.conf"), stderr=subprocess.DEVNULL)
    server.wait_for_listener(80)


def ask(
    client: Host, folder: Path, seconds: int, connections: int = CONNECTIONS, body: str | None = None, *, close: bool = False
) -> subprocess.Popen[bytes]:
    """Start wrk for this many seconds: it requests this body (closing each connection afterwards if `close`), or all of them
    with no two heads alike."""
    words = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", f"http://10.9.0.2/{body or ''}"]
    if close:
        words += ["-H", "Connection: close"]
    if body is None:
        (folder / "requests.lua").write_text(WRK)
        words += ["-s", str(folder / "requests.lua"), "--", str(int(time.time()))]
    return client.start(*words, stdout=subprocess.DEVNULL)


def _load(client: Host, folder: Path, path: Path, seconds: int, traffic: str) -> None:
    """Run wrk until the file has not grown for a second: tcpdump has its packets and is gone."""
    body = {"dense": None, "short": "2k", "bulk": "20m"}[traffic]
    wrk = ask(client, folder, seconds, 8 if traffic == "bulk" else CONNECTIONS, body, close=traffic == "short")
    size = -1
    while wrk.poll() is None and size != (size := path.stat().st_size if path.exists() else 0):
        time.sleep(1.0)


PACKAGES = {"ip": "iproute2", "ss": "iproute2", "capinfos": "wireshark-common", "dumpcap": "wireshark-common"}
"""Of Debian, where they are not called as their program."""


def missing(*programs: str) -> str:
    """Which of these programs are not here, and what installs them; empty when all are."""
    absent = [name for name in programs if not shutil.which(name)]
    packages = dict.fromkeys(PACKAGES.get(name, name) for name in absent)
    return f"missing: {', '.join(absent)}; apt-get install {' '.join(packages)}" if absent else ""


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traffic", choices=TRAFFIC, default="dense")
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if absent := missing("nginx", "wrk", "tcpdump", "ethtool", "ip", "ss"):
        print(absent, file=sys.stderr)
        return 1
    output = options.output or DATA / f"http-{options.packets // 1_000_000}m.pcap"
    record(output, options.packets, options.traffic)
    print(f"{output}: {options.packets} packets, {output.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
