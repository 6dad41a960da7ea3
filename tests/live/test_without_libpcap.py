"""Test `live` and `run` where neither a program nor libpcap can filter: only filters that the user gave are errors."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.live.capturing import ROOT, capturing, closing
from wiredoctor import interfaces
from wiredoctor.cli.capture_order import Backend, CaptureFilter, check_filter
from wiredoctor.cli.exit_codes import UsageError
from wiredoctor.interfaces import Permission, load_libpcap, permission

can_filter = load_libpcap() is not None or any(one.permitted for one in permission().backends if one.name != "raw")
bare = pytest.mark.skipif(can_filter, reason="something can filter here; .ci/run hides it")


def wiredoctor(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wiredoctor", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


@bare
@capturing()
@pytest.mark.parametrize(("option", "value"), [("--filter", "tcp port 8099"), ("--port", "8099")])
def test_a_given_filter_is_refused_before_anything_is_started(option: str, value: str, tmp_path: Path) -> None:
    for done in (
        wiredoctor("live", "-i", "lo", option, value, "--write", str(tmp_path / "a.pcapng")),
        wiredoctor("run", option, value, "--write", str(tmp_path / "a.pcapng"), "--", "touch", str(tmp_path / "ran")),
    ):
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"wiredoctor: {option}: raw sockets need libpcap for a filter; install it (")
        assert not list(tmp_path.iterdir())


CLIENT = """
import sys
from tests.live.capturing import ask_and_wait
ask_and_wait(int(sys.argv[1]))
"""


@bare
@capturing()
def test_run_does_without_its_default_filter(tmp_path: Path) -> None:
    kept = tmp_path / "a.pcapng"
    with closing() as port:
        done = wiredoctor("run", "--write", str(kept), "--", sys.executable, "-c", CLIENT, str(port))
    assert done.returncode == 0
    first = done.stderr.splitlines()[0]
    assert first.startswith(
        f"wiredoctor: all packets of the interfaces are recorded and kept in {kept}, without the default filter"
    )
    assert "1 TCP connection, 1 HTTP exchange" in done.stderr


@pytest.mark.parametrize(
    ("permitted", "library", "backend", "works"),
    [
        ({"raw"}, False, None, False),
        ({"raw"}, True, None, True),
        ({"raw", "tcpdump"}, False, None, True),
        ({"raw", "tcpdump"}, False, Backend.raw, False),
        ({"raw", "tcpdump"}, False, Backend.tcpdump, True),
        (set[str](), False, None, True),  # the recorder then says what is missing
    ],
)
def test_what_can_filter(
    permitted: set[str], library: bool, backend: Backend | None, works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """A program that may capture filters by itself; raw sockets need the library."""
    backends = tuple(one._replace(permitted=one.name in permitted) for one in permission().backends)
    monkeypatch.setattr(interfaces, "permission", lambda: Permission(backends, ()))
    monkeypatch.setattr(interfaces, "load_libpcap", lambda: object() if library else None)
    check_filter(CaptureFilter.of(None, None, default="tcp"), backend)
    given = CaptureFilter.of("tcp", [80])
    with nullcontext() if works else pytest.raises(UsageError, match="--filter and --port: raw sockets need libpcap"):
        check_filter(given, backend)
