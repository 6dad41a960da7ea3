"""Record programs as their users use them, each also with several disturbances, and check what wiredoctor reports.

    python captures/lab/programs.py list
    python captures/lab/programs.py make FOLDER [NAME...] [--rtt 0 40] [--ways healthy killed]
    python captures/lab/programs.py judge FOLDER [-v]

`make` records each program in each way at both ends, and at a gateway between them, and writes beside each recording what may and
must be reported. `judge` analyzes the recordings, and prints each wrong warning or error, and each fault that is not reported.
Run as root; MODULES names a folder with the node_modules of the servers in JavaScript.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from call_programs import CALLS_OF_NODE, CALLS_OF_PYTHON
from command_programs import COMMANDS
from daemon_programs import DAEMONS
from desktop_programs import DESKTOPS
from document_programs import DOCUMENTS
from file_programs import FILE_SERVERS, LATER_PROXIES, LOAD_TESTS, PROXIES
from gateway_programs import GATEWAYS
from impairments import Conditions
from language_programs import LANGUAGES
from library_programs import CALLS, LIBRARIES, SLOW
from network import cable, stop, tcpdump, user_before
from network_programs import NETWORK
from part_programs import PARTS
from program import Program
from scenario import Lab
from server_programs import LIMITS
from service_programs import PUSHES, SERVICES
from system_programs import SYSTEMS
from tool_programs import ARCHIVES, PACKAGES, READERS, SCANS
from web_programs import APPLICATIONS, LONG_POLLS

MOMENT, PAUSE = 2.2, 4.0
"""The time in seconds after which the disturbance begins, and the time for which a program is stopped."""

PROGRAMS: dict[str, Program] = {
    program.name: program
    for program in (
        *(*APPLICATIONS, *LONG_POLLS, *SERVICES, *PUSHES, *FILE_SERVERS),
        *(
            *PROXIES,
            *LATER_PROXIES,
            *LOAD_TESTS,
            *PACKAGES,
            *ARCHIVES,
            *SCANS,
            *READERS,
            *LIBRARIES,
            *CALLS,
            *CALLS_OF_PYTHON,
            *CALLS_OF_NODE,
            *SLOW,
            *PARTS,
            *COMMANDS,
            *DAEMONS,
            *DOCUMENTS,
            *LANGUAGES,
            *NETWORK,
            *SYSTEMS,
            *DESKTOPS,
            *GATEWAYS,
            *LIMITS,
        ),
    )
}

CUT = ("no-response", "truncated-response", "keep-alive-race", "connect-failed", "gateway-error", "client-abort")


@dataclass
class Run:
    """A running program: its processes on both sides, as process groups."""

    program: Program
    lab: Lab
    serving: list[subprocess.Popen[bytes]] = field(default_factory=list["subprocess.Popen[bytes]"])
    using: list[subprocess.Popen[bytes]] = field(default_factory=list["subprocess.Popen[bytes]"])


def healthy(_: Run) -> None:
    """Do nothing."""


def faulty(_: Run) -> None:
    """Do nothing, because the program fails by itself."""


def killed(run: Run) -> None:
    """Kill the server."""
    _signal(run.serving, signal.SIGKILL)


def restarted(run: Run) -> None:
    """End the server like a deployment, and start it again."""
    for process in run.serving:
        stop(process)
    run.program.serve(run.lab)


def paused(run: Run) -> None:
    """Stop the server for a while."""
    _pause(run.serving)


def throttled(run: Run) -> None:
    """Give the server a tenth of a processor for a while, in slices, like a container with a quota."""
    _slice(run.serving)


def frozen(run: Run) -> None:
    """Stop the client for a while, like a suspended container or a closed laptop."""
    _pause(run.using)


def slowed(run: Run) -> None:
    """Give the client a tenth of a processor for a while, in slices."""
    _slice(run.using)


def rationed(run: Run) -> None:
    """Give the server a twentieth of a processor for a while, with the quota of a control group (version 1 or 2 of Linux)."""
    first = Path("/sys/fs/cgroup/cpu")
    group = (first if first.exists() else Path("/sys/fs/cgroup")) / f"wiredoctor-{os.getpid()}"
    group.mkdir()
    if first.exists():
        (group / "cpu.cfs_quota_us").write_text("5000")
    else:
        (group / "cpu.max").write_text("5000 100000")
    home = group.parent / "cgroup.procs"
    members = {number for process in run.serving for number in _members(process.pid)}
    for number in members:
        with suppress(OSError):
            (group / "cgroup.procs").write_text(str(number))
    time.sleep(PAUSE)
    for number in (group / "cgroup.procs").read_text().split():
        with suppress(OSError):
            home.write_text(number)
    time.sleep(0.1)
    with suppress(OSError):
        group.rmdir()


def _members(group: int) -> list[int]:
    """Return the processes of a process group."""
    lines = subprocess.run(["ps", "-eo", "pid=,pgid="], capture_output=True, text=True, check=True).stdout.splitlines()
    return [int(number) for number, of in (line.split() for line in lines) if int(of) == group]


def left(run: Run) -> None:
    """Kill the client."""
    _signal(run.using, signal.SIGKILL)


WAYS: dict[str, Callable[[Run], None]] = {
    way.__name__: way for way in (healthy, faulty, killed, restarted, paused, throttled, rationed, frozen, slowed, left)
}


def _pause(processes: list[subprocess.Popen[bytes]]) -> None:
    _signal(processes, signal.SIGSTOP)
    time.sleep(PAUSE)
    _signal(processes, signal.SIGCONT)


def _slice(processes: list[subprocess.Popen[bytes]]) -> None:
    for _ in range(int(PAUSE / 0.1)):
        _signal(processes, signal.SIGSTOP)
        time.sleep(0.09)
        _signal(processes, signal.SIGCONT)
        time.sleep(0.01)


def _signal(processes: list[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)


@dataclass
class Truth:
    """What is true of a recording: the rules whose warnings and errors are right, and the rules of which one must report
    something.
    """

    program: str
    way: str
    rtt: int
    may: dict[str, str] = field(default_factory=dict[str, str])
    must: tuple[str, ...] = ()
    fault: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Like `must`, for each end of a program that fails by itself."""


def truth(program: Program, way: str, rtt: int) -> Truth:
    """Return what is true of a recording, from the way in which it is made."""
    may = dict(program.may)
    if way in ("killed", "restarted"):
        may |= dict.fromkeys(CUT, "the server was gone")
    if way in ("paused", "throttled", "rationed"):
        may |= {"slow-response": "the server stood still", "zero-window-stall": "the server did not read"}
        may |= dict.fromkeys(("no-response", "keep-alive-race"), "its idle timer fires as it wakes up, before it reads")
    if way in ("frozen", "slowed"):
        may |= {"zero-window-stall": "the client did not read", "keep-alive-race": "it wrote before it looked"}
    if way == "left":
        may |= {"client-abort": "the client was killed", "truncated-response": "the client was killed"}
    return Truth(program.name, way, rtt, may, program.must.get(way, ()), program.fault)


def make(program: Program, way: str, rtt: int, folder: Path) -> None:
    """Record a program at both ends, and at its gateway if it has one."""
    name = f"{program.name}-{way}-rtt-{rtt}"
    conditions = Conditions(rtt / 2_000) if rtt else None
    with tempfile.TemporaryDirectory() as files, cable(conditions) as (client, server, _), ExitStack() as recorders:
        user = recorders.enter_context(user_before(client)) if program.gateway else client
        lab = Lab(client, server, Path(files), None, user)
        lab.folder.chmod(0o755)
        program.serve(lab)
        run = Run(program, lab, list(server.started))
        if program.gateway:
            program.gateway(lab.turned)
        for end, host in (("client", user), ("server", server), *([("gateway", client)] if program.gateway else [])):
            path, options = folder / f"{name}-{end}.pcap", ("-s", str(program.snap))
            recorders.enter_context(tcpdump(host, path, interface="any" if end == "gateway" else "eth0", options=options))
        fault = threading.Timer(MOMENT, WAYS[way], (run,))
        fault.start()
        started = time.monotonic()
        _use(run)
        if way in ("healthy", "faulty"):
            fault.cancel()
        fault.join()
        time.sleep(0.5)
        print(f"{name}: {time.monotonic() - started:.1f} s", flush=True)
    (folder / f"{name}.json").write_text(json.dumps(truth(program, way, rtt).__dict__))


def _use(run: Run) -> None:
    assert run.lab.user
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.PIPE}
    run.using += [run.lab.user.start(*words, **silent, cwd=run.lab.folder) for words in run.program.use]
    deadline = time.monotonic() + run.program.seconds
    for process in run.using:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(deadline - time.monotonic(), 0.1))
    for process in run.using:
        stop(process, signal.SIGINT)


def judge(folder: Path, *, verbose: bool) -> int:
    """Print what is wrongly reported, and what is not reported, for each recording. Return the number of these errors."""
    import wiredoctor

    wrong = 0
    for file in sorted(folder.glob("*.json")):
        known = _known(json.loads(file.read_text()))
        for end in ("client", "gateway", "server"):
            capture = file.with_name(f"{file.stem}-{end}.pcap")
            if not capture.exists():
                continue
            must = {*known.must, *known.fault.get(end, ())}
            said = Counter((f.rule, f.kind or "", f.severity) for f in wiredoctor.analyze(capture).findings)
            loud = {(rule, f"{rule} {kind}") for rule, kind, severity in said if severity != "note"}
            false = sorted(named for rule, named in loud if not {rule, named} & (must | known.may.keys()))
            missed = bool(must) and not {name for rule, kind, _ in said for name in (rule, f"{rule} {kind}")} & must
            wrong += bool(false) + missed
            if verbose or false or missed:
                mark = f"NOT TRUE {false}" if false else "MISSED" if missed else "ok"
                words = ", ".join(f"{rule} {kind} {severity} x{n}" for (rule, kind, severity), n in sorted(said.items()))
                print(f"{capture.name:58} {mark}; said: {words}", flush=True)
    return wrong


def _known(recorded: dict[str, Any]) -> Truth:
    """Return the current truth of a recording or, if its program no longer exists, the stored one."""
    program = PROGRAMS.get(recorded["program"])
    return truth(program, recorded["way"], recorded["rtt"]) if program else Truth(**recorded)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("order", choices=("list", "make", "judge"))
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--rtt", type=int, nargs="+", default=[0, 40])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("-v", "--verbose", action="store_true")
    words = parser.parse_intermixed_args()
    if words.order == "list":
        print("\n".join(f"{p.name:20} {p.title}{'' if p.installed() else ' (not installed)'}" for p in PROGRAMS.values()))
        return 0
    if words.order == "judge":
        return judge(words.folder, verbose=words.verbose)
    words.folder.mkdir(parents=True, exist_ok=True)
    for name in words.names or PROGRAMS:
        program = PROGRAMS[name]
        if not program.installed():
            print(f"{name}: not installed", file=sys.stderr)
            continue
        for way in words.ways:
            if (way == "faulty") != bool(program.fault):
                continue
            for rtt in words.rtt:
                try:
                    make(program, way, rtt, words.folder)
                except (RuntimeError, TimeoutError, OSError) as error:
                    print(f"{name} {way} {rtt}: {error}", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    assert shutil.which("tcpdump"), "tcpdump is not installed"
    sys.exit(main())
