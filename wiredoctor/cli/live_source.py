"""Find where the packets of `live` come from: interfaces, standard input, or a program that captures on a host or in a pod."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from wiredoctor.cli.exit_codes import UsageError, print_message

IMAGE = "nicolaka/netshoot"
"""The image of the ephemeral container that captures in a pod: it needs sh, timeout and tcpdump."""

LONGEST = 3600
"""The time limit in seconds for a capture in a pod without --duration.

Without a limit, the capture would continue after the connection to the cluster is lost.
"""

SPARE = 30
"""The number of seconds by which a capture in a pod may exceed --duration, which counts from the first packet."""

_PARENT_ENDED = 1
"""The value of PR_SET_PDEATHSIG for prctl(2)."""


class Source(NamedTuple):
    """The origin of the packets: interfaces of this machine, or a stream, such as the output of tcpdump on another host.

    `stream`: the file descriptor of the stream. `name`: its name in messages. `process`: the program that writes the stream; None
    for standard input.
    """

    interfaces: Sequence[str]
    stream: int | None = None
    name: str = ""
    process: subprocess.Popen[bytes] | None = None

    def hand_over(self) -> None:
        """Close this process's copy of the stream. Call this as soon as the recorder has its own copy.

        The program that writes the stream then ends when the recorder closes its copy.
        """
        if self.stream is not None:
            os.close(self.stream)

    def end(self) -> None:
        """End the program that writes the stream, if this process started one."""
        if self.process is None:
            return
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.terminate()  # not permitted after privileges were dropped; the program then ends with this process
            self.process.wait(2)
        except (OSError, subprocess.TimeoutExpired):
            return


def find_source(
    given: str | None, interfaces: Sequence[str] | None, ssh: str | None, kubectl: str | None, image: str | None,
    filter: str | None, snaplen: int | None, duration: float | None, local: Sequence[str], *, sudo: bool,
) -> Source:  # fmt: skip
    """Return the source of packets that the command line describes; raise UsageError if the options are not valid.

    With `ssh` or `kubectl`, start the program that captures on the host or in the pod. `given`: the argument SOURCE, of which
    only "-" is valid. `local`: the names of the given options that apply only to a capture on this machine.
    """
    if given is not None and given.isdecimal() and len(given) <= 5 and 0 < int(given) < 1 << 16:
        raise UsageError(f"wiredoctor live reads interfaces (-i) or standard input (-); to watch a port: --port {given}")
    if given is not None and given != "-":
        raise UsageError(
            f"wiredoctor live reads interfaces (-i) or standard input (-); to read a file: wiredoctor analyze {given}"
        )
    chosen = [name for name, value in (("-", given), ("--ssh", ssh), ("--kubectl", kubectl)) if value is not None]
    if len(chosen) > 1:
        raise UsageError(f"{chosen[0]} and {chosen[1]} cannot be combined")
    if image is not None and kubectl is None:
        raise UsageError("--image needs --kubectl")
    if sudo and ssh is None:
        raise UsageError("--sudo needs --ssh")
    if chosen and local:
        raise UsageError(f"{local[0]} applies to a capture on this machine only, not to {chosen[0]}")
    if given == "-":
        return _standard_input(interfaces, filter, snaplen)
    if ssh is None and kubectl is None:
        return Source(tuple(interfaces or ()))
    for text, option in ((filter, "--filter"), *((name, "-i") for name in interfaces or ())):
        if text is not None and not text.isprintable():
            raise UsageError(f"{option}: {text!r} has characters that are not safe in a shell")
    if len(interfaces or ()) > 1:
        raise UsageError(f"{chosen[0]} captures on one interface, or on all of them with -i any")
    device = next(iter(interfaces or ()), "any")
    where = f"on interface {device}" if interfaces else "on all interfaces (-i chooses one)"
    if ssh is not None:
        print_message(f"running tcpdump on {ssh}, {where}, without the packets of this SSH connection:")
        return _start(ssh_command(ssh, device, filter, snaplen, sudo=sudo), f"ssh {ssh}")
    assert kubectl is not None
    seconds = LONGEST if duration is None else round(duration) + SPARE
    print_message(f"running tcpdump in an ephemeral container of the pod {kubectl}, {where}:")
    source = _start(kubectl_command(kubectl, image or IMAGE, device, filter, snaplen, seconds), f"kubectl {kubectl}")
    print_message("the node may keep the captured packets in the log of the ephemeral container")
    return source


def _standard_input(interfaces: Sequence[str] | None, filter: str | None, snaplen: int | None) -> Source:
    there = [option for option, value in (("-i", interfaces), ("--filter", filter), ("--snaplen", snaplen)) if value]
    if there:
        raise UsageError(f"{there[0]}: standard input is already a capture; give this option to the program that captures")
    if sys.stdin is None:
        raise UsageError("-: standard input is closed")
    if sys.stdin.isatty():
        raise UsageError(
            "-: standard input is a terminal; pipe a capture in: ssh HOST tcpdump -U -w - 'not port 22' | wiredoctor live -"
        )
    return Source((), os.dup(sys.stdin.fileno()), "standard input")  # descriptor 0 has another use in the recorder


def _tcpdump(device: str, snaplen: int | None) -> list[str]:
    return ["tcpdump", "-i", device, "-U", *(["-s", str(snaplen)] if snaplen else []), "-w", "-"]


def ssh_command(host: str, device: str, filter: str | None, snaplen: int | None, *, sudo: bool) -> list[str]:
    """Return the command that captures on a host over SSH; raise UsageError if `host` looks like an option.

    The packets of the SSH connection itself are not captured: sshd passes its ports in SSH_CONNECTION. When standard input ends,
    the script kills tcpdump, which would otherwise notice the end of the connection only when it writes its next packet. Killing
    tcpdump takes the same privileges as starting it, so sudo runs the complete script. sudo does not pass on variables, so `env`
    gives SSH_CONNECTION to the script.
    """
    if host.startswith("-"):
        raise UsageError(f"--ssh: {host!r} is not a host")
    own = "not (tcp port ${2-22} and tcp port ${4-22})"
    wanted = _in_double_quotes(f" and ({filter})") if filter else ""
    script = (
        "set -- $SSH_CONNECTION; exec 3<&0; (cat <&3; kill $$) >/dev/null 2>&1 & "
        f'exec {shlex.join(_tcpdump(device, snaplen))} "{own}{wanted}"'
    )
    # the login shell may not be a POSIX shell
    rights = ["sudo", "-n", "env", 'SSH_CONNECTION="$SSH_CONNECTION"'] if sudo else []
    return ["ssh", host, *rights, "sh", "-c", shlex.quote(script)]


def _in_double_quotes(text: str) -> str:
    return re.sub(r'(["\\$`])', r"\\\1", text)


def kubectl_command(
    pod: str, image: str, device: str, filter: str | None, snaplen: int | None, seconds: int
) -> list[str]:  # fmt: skip
    """Return the command that captures in a pod, from an ephemeral container that ends after `seconds`.

    Output that the container writes before kubectl is attached would be lost, including the file header. The container therefore
    waits for a line on standard input first. Raise UsageError if `pod` is not NAMESPACE/POD.
    """
    namespace, _, name = pod.rpartition("/")
    if not all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", part) for part in (name, *([namespace] if namespace else []))):
        raise UsageError(f"--kubectl: {pod!r} is not NAMESPACE/POD")
    words = ["timeout", str(seconds), *_tcpdump(device, snaplen), *([filter] if filter else [])]
    return [
        "kubectl", "debug", *(["-n", namespace] if namespace else []), name, "--quiet", "-i", f"--image={image}",
        "--profile=netadmin", "--", "sh", "-c", 'read go; exec "$@"', "sh", *words,
    ]  # fmt: skip


def _start(command: list[str], name: str) -> Source:
    """Print a command, start it, and return its output as a source. The command's messages go to standard error.

    Raise UsageError if the command is not installed.
    """
    if shutil.which(command[0]) is None:
        raise UsageError(f"{command[0]} is not installed")
    print_message(" ".join(map(_quote, command)))
    reader, writer = os.pipe()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=writer, preexec_fn=_end_with_parent)  # noqa: PLW1509 - no threads
    os.close(writer)
    assert process.stdin is not None
    process.stdin.write(b"\n")  # the command for a pod waits for this line
    process.stdin.flush()
    return Source((), reader, name, process)


def _quote(word: str) -> str:
    """Quote a word for a shell.

    A word that begins and ends with a single quote is quoted in a shorter form than by shlex.quote.
    """
    inner = word[1:-1]
    if word[:1] == word[-1:] == "'" and "'" not in inner:
        return rf"\''{inner}'\'"
    return shlex.quote(word)


def _end_with_parent() -> None:
    """Ask Linux to send SIGTERM to this process when its parent ends for any reason."""
    if sys.platform == "linux":
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(_PARENT_ENDED, signal.SIGTERM)
