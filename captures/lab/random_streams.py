"""Record random event streams, through programs that forward events and programs that hold them back, and check what is reported.

    python captures/lab/random_streams.py make FOLDER [--seed N] [--count N] [--jobs N] [--only NAME,...]
    python captures/lab/random_streams.py score FOLDER [--python PYTHON] [--jobs N] [--only NAME,...] [-v]

In every second recording, streams are held back: by nginx that buffers (and compresses), by Apache httpd that does not flush (and
compresses), or by programs that compress without a flush, collect, or fill a buffer. In the others, events are forwarded as they
are written. A recording has STREAMS streams, each on its own connection, over a round trip of 0 to 200 ms, with a path that stops
now and then, with Reno or BBR. It is made at the client, in the middle or at the server. NAME.json contains the times at which
the events of each stream were written and received, so it is measured which were held back. Run `make` as root; a recording takes
about 10 s.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch import is_wanted, make_missing, parser_of, reports
from impairments import Conditions
from network import cable
from scenario import PEERS

if TYPE_CHECKING:
    from argparse import Namespace

    from network import Host

STREAMS = 4
APP, FRONT = 8000, 80
WITHIN = 90.0
LONGEST = 6.0
"""The maximum duration of a stream in seconds, without its first wait."""

HELD = 0.5
"""The minimum delay in seconds of an event that counts as held back."""
TELLABLE = 20
"""The number of held-back events from which a stream must be reported. A program may write fewer events at once."""

PASS = ("direct", "nginx", "haproxy", "caddy", "httpd", "gzip-flush")
HOLD = ("nginx", "nginx-1.0", "nginx-gzip", "httpd", "httpd-deflate", "collect", "pieces", "block", "gzip", "deflate")
KINDS = ("tokens", "agent", "dashboard", "logs")
TRIPS = (0.0, 0.001, 0.01, 0.03, 0.08, 0.2)
POINTS = ("client", "middle", "server")


@dataclass(frozen=True)
class Plan:
    """A recording: the program that forwards the streams or holds them back, how it does so, and the streams."""

    number: int
    held: bool
    by: str
    rtt: float
    point: str
    congestion: str
    stands: tuple[tuple[float, float], ...]
    streams: dict[str, dict[str, Any]]

    @property
    def name(self) -> str:
        return f"{self.number:03}-{'held' if self.held else 'passed'}-{self.by}"


def plan(number: int, seed: int) -> Plan:
    """Return the plan of a recording; it depends on seed and number only."""
    chance = random.Random(f"{seed}/{number}")
    held = number % 2 == 1
    by = (HOLD if held else PASS)[number // 2 % len(HOLD if held else PASS)]
    rtt = chance.choice(TRIPS)
    stands = list[tuple[float, float]]()
    if not held and chance.random() < 0.5:
        at = chance.uniform(0.5, 2.5)
        while at < 12:
            lasts = chance.uniform(0.15, 0.9)
            stands.append((at, lasts))
            at += lasts + chance.uniform(0.8, 3.0)
    streams = {f"s{number}-{turn}": _stream(chance, held=held, by=by) for turn in range(STREAMS)}
    congestion = chance.choice(("reno", "reno", "reno", "bbr"))
    return Plan(number, held, by, rtt, chance.choice(POINTS), congestion, tuple(stands), streams)


def _stream(chance: random.Random, *, held: bool, by: str) -> dict[str, Any]:
    kind = chance.choice(KINDS)
    wait = chance.uniform(0.2, 2.5)
    size = round(10 ** chance.uniform(1.2, 2.5))
    times = list[float]()
    if kind == "tokens":
        rate = 10 ** chance.uniform(0.7, 3.18)
        count = max(3, min(round(10 ** chance.uniform(0.5, 3.48)), int(rate * LONGEST)))
        if held:
            rate = min(rate, count / 1.0)
        times = [number / rate for number in range(count)]
    elif kind in ("agent", "dashboard"):
        at, period = 0.0, chance.uniform(0.5, 1.2)
        while at < LONGEST and len(times) < 3_000:
            times += [at] * chance.randint(1, 14)
            at += chance.uniform(0.5, 1.6) if kind == "agent" else period
            if kind == "agent" and len(times) > 3 and chance.random() < 0.15:
                break
    else:
        at = 0.0
        rate = 10 ** chance.uniform(0.7, 2.5)
        while at < LONGEST:
            times.append(at)
            at += chance.expovariate(rate)
    mode = by if held and by in ("collect", "pieces", "block", "gzip", "deflate") else "flush"
    mode = "gzip-flush" if by == "gzip-flush" else mode
    media = "application/x-ndjson" if kind == "logs" else "text/event-stream"
    return {"kind": kind, "media": media, "wait": wait, "mode": mode, "events": [[at, size] for at in times]}


def main() -> int:
    """Run the command line."""
    parser = parser_of(__doc__, jobs=2, only="numbers, or what passes the streams on or holds them back")
    parser.add_argument("--count", type=int, default=50, help="recordings")
    parser.add_argument("-v", "--verbose", action="store_true", help="print each stream that is wrong")
    words = parser.parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    if words.action == "one":
        make(words.folder, plan(int(words.only.partition("-")[0]), words.seed))
        return 0
    return make_all(words) if words.action == "make" else score(words)


def make_all(words: Namespace) -> int:
    """Make the missing recordings. Return the number of failures."""
    cases = [plan(number, words.seed) for number in range(words.count)]
    names = [case.name for case in cases if is_wanted(words, case.name, str(case.number), case.by)]
    return make_missing(__file__, names, words, WITHIN)


def make(folder: Path, case: Plan) -> None:
    """Record a plan, and write what is true of it."""
    conditions = Conditions(case.rtt / 2, stands=case.stands)
    with tempfile.TemporaryDirectory() as name, cable(conditions) as (client, server, strung):
        assert strung is not None
        server.run("sysctl", "-q", "-w", f"net.ipv4.tcp_congestion_control={case.congestion}")
        work = Path(name)
        (work / "plan.json").write_text(json.dumps(case.streams))
        server.serve(APP, sys.executable, str(PEERS / "streamer.py"), str(APP), str(work / "plan.json"), str(work))
        port = _start_proxy(case, server, work)
        words = [f"{stream}:{turn * 0.1:.1f}" for turn, stream in enumerate(case.streams)]
        with strung.recorded(case.point, folder / f"{case.name}.pcap"):
            done = client.run(sys.executable, str(PEERS / "stream_client.py"), server.address, str(port), *words)
            time.sleep(0.3 + case.rtt)
        came = json.loads(done.stdout)
        sent = {stream: json.loads((work / f"{stream}.json").read_text()) for stream in case.streams}
    truth = asdict(case) | {"name": case.name, "sent": sent, "came": came}
    (folder / f"{case.name}.json").write_text(json.dumps(truth) + "\n")


NGINX = {
    (False, "nginx"): 'proxy_buffering off; proxy_http_version 1.1; proxy_set_header Connection "";',
    (True, "nginx"): 'proxy_http_version 1.1; proxy_set_header Connection "";',
    (True, "nginx-1.0"): "",
    (True, "nginx-gzip"): 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Accept-Encoding ""; '
    "gzip on; gzip_types *; gzip_min_length 0;",
}
HTTPD = ("mpm_event", "authz_core", "proxy", "proxy_http", "filter", "deflate")


def _start_proxy(case: Plan, server: Host, work: Path) -> int:
    """Start the proxy in front of the program, if there is one; return the port for requests."""
    by = case.by
    if (case.held, by) in NGINX:
        temporary = " ".join(f"{name}_temp_path {work}/{name};" for name in ("proxy", "fastcgi", "uwsgi", "scgi"))
        conf = f"""daemon off; user root; worker_processes 1; pid {work}/pid; error_log {work}/error.log;
events {{ worker_connections 128; }}
http {{ access_log off; client_body_temp_path {work}/body; {temporary} {NGINX[case.held, by]}
server {{ listen {FRONT}; location / {{ proxy_pass http://127.0.0.1:{APP}; }} }} }}"""
        words = ["nginx", "-c", _written(work / "nginx.conf", conf)]
    elif by == "haproxy":
        limits = "timeout connect 5s\n timeout client 60s\n timeout server 60s"
        conf = f"defaults\n mode http\n {limits}\nlisten all\n bind :{FRONT}\n server one 127.0.0.1:{APP}\n"
        words = ["haproxy", "-f", _written(work / "haproxy.cfg", conf)]
    elif by == "caddy":
        proxy = f"reverse_proxy 127.0.0.1:{APP} {{\n flush_interval -1\n }}"
        conf = f"{{\n admin off\n auto_https off\n}}\n:{FRONT} {{\n {proxy}\n}}\n"
        words = ["caddy", "run", "--config", _written(work / "Caddyfile", conf), "--adapter", "caddyfile"]
    elif by.startswith("httpd"):
        modules = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in HTTPD)
        deflate = "SetOutputFilter DEFLATE\nRequestHeader unset Accept-Encoding" if by == "httpd-deflate" else ""
        deflate = deflate.partition("\n")[0]
        flush = "" if case.held else "flushpackets=on"
        conf = f"""ServerRoot {work}
ServerName www.example
PidFile {work}/httpd.pid
Mutex file:{work}
DefaultRuntimeDir {work}
Listen {FRONT}
ErrorLog {work}/error.log
{modules}
{deflate}
ProxyPass / http://127.0.0.1:{APP}/ {flush}
"""
        words = ["apache2", "-X", "-f", _written(work / "httpd.conf", conf)]
    else:
        return APP
    server.serve(FRONT, *words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return FRONT


def _written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def score(words: Namespace) -> int:
    """Print what is reported for the streams; return 1 if a required score was missed."""
    cases = [json.loads(path.read_text()) for path in sorted(words.folder.glob("*.json"))]
    cases = [case for case in cases if is_wanted(words, case["name"], str(case["number"]), case["by"])]
    found = reports(words.python, [words.folder / f"{case['name']}.pcap" for case in cases], words.jobs)
    passed, warned, noted, held, told, proved, few, few_told = (0,) * 8
    for case, report in zip(cases, found, strict=True):
        said = dict[str, str]()
        for finding in report["findings"]:
            if finding["rule"] in ("buffered-stream", "tinygrams", "tiny-chunks", "unchunked-streaming"):
                path = (finding["request"] or "").rpartition("/")[2]
                said[path] = max(said.get(path, ""), finding["severity"])
        for stream, sent in case["sent"].items():
            late = _late(sent, case["came"][stream], case["rtt"])
            severity = said.get(stream, "")
            if not case["held"]:
                passed += 1
                warned += severity in ("warning", "error")
                noted += severity == "note"
                wrong = bool(severity)
            elif late >= TELLABLE:
                held += 1
                told += bool(severity)
                proved += severity == "warning"
                wrong = not severity
            else:
                few += late > 0
                few_told += late > 0 and bool(severity)
                wrong = False
            if words.verbose and wrong:
                kind, count = case["streams"][stream]["kind"], len(sent)
                path = f"rtt {case['rtt']}, {case['congestion']}, stands {len(case['stands'])}"
                where = f"{case['name']} {stream} at {case['point']}, {path}"
                print(f"{where}: {kind}, {count} events, {late} late: said {severity or 'nothing'}")
    print(f"passed on as written: {passed} streams, {warned} with a warning, {noted} with a note")
    print(f"held back, {TELLABLE} events or more by {HELD} s: {held} streams, {told} told ({proved} as proved)")
    print(f"held back, fewer events: {few} streams, {few_told} told")
    return int(warned > 0 or told < 0.95 * held)


def _late(sent: list[float], came: list[float], rtt: float) -> int:
    """Return the number of events that arrived at least HELD seconds after they were written."""
    return sum(arrived - there - rtt / 2 >= HELD for there, arrived in zip(sent, came, strict=False))


if __name__ == "__main__":
    sys.exit(main())
