"""The small parsers, one per input: heads, options, and what users write into options and files. The first byte chooses."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, suppress
from dataclasses import asdict
from functools import cache

from tests.decode.decoding import decoded
from tests.decode.packets import Record, ethernet, ipv4, tcp
from tests.fuzzing import tokens
from tests.fuzzing.guard import must
from tests.fuzzing.places import as_file
from wiredoctor import findings
from wiredoctor.cli import baselines, config_file
from wiredoctor.cli.exit_codes import UsageError
from wiredoctor.core.http1.framing import request_framing, response_framing
from wiredoctor.core.http1.heads import Head, length_of
from wiredoctor.findings import Threshold
from wiredoctor.protocols.http1 import head
from wiredoctor.protocols.http1.framing import BROKEN
from wiredoctor.report import filter, words
from wiredoctor.text import durations, redact

Parser = Callable[[bytes], None]


def run(data: bytes) -> None:
    """The parser that the first byte names, with the rest."""
    if data:
        list(PARSERS.values())[data[0] % len(PARSERS)](data[1:])


def heads(data: bytes) -> None:
    """A head says the same when it is met again, and to a parser that remembers nothing."""
    parser, fresh = head.HeadParser(), head.HeadParser()
    end = head.find_head_end(data)
    naive = re.search(rb"\r\n\r\n|\n\r?\n", data)
    must((end < 0) == (naive is None), "the end of a head is found", end, naive)
    whole = data[:end] if end >= 0 else data
    for read in ("request", "response"):
        first = getattr(parser, read)(whole)
        for again in (getattr(parser, read)(whole), getattr(fresh, read)(whole)):
            must((first is None) == (again is None), f"a {read} is read alike every time")
            if first is not None:
                left, right = (asdict(one[1]) | {"number": 0} for one in (first, again))
                must(first[0] == again[0] and left == right, f"a {read} is read alike every time", left, right)
                parsed, length = Head(*first), length_of(first[1])
                must(0 <= request_framing(parsed, length) <= BROKEN, "a framing")
                must(0 <= response_framing(parsed, length, "") <= BROKEN, "a framing")
    line = data.partition(b"\n")[0].removesuffix(b"\r")
    start = head.request_line(line)
    if start is not None:
        begun = all(head.may_become_request(line[:k]) for k in range(1, min(len(line), 60)))
        must(begun, "what becomes a request may become one", line)
    status = parser.status(line)
    if status is not None:
        must(0 <= status.status <= 999, "a status has three digits", status)
        begun = all(head.may_become_response(line[:k]) for k in range(1, min(len(line), 60)))
        must(begun, "what becomes a response may become one", line)


def options(data: bytes) -> None:
    """TCP options, against a loop of ten lines."""
    content = data[:40]
    content += bytes(-len(content) % 4)
    ack = struct.unpack(">I", content[:4])[0] if len(content) >= 4 else 5
    rows, _, _ = decoded([Record(ethernet(ipv4(tcp(b"x", content, ack=ack))))])
    mss, shift, stamps, sack = -1, -1, False, False
    at = 0
    while at < len(content) and content[at] != 0:
        size = 1 if content[at] == 1 else content[at + 1] if at + 1 < len(content) else 0
        if content[at] != 1 and (size < 2 or at + size > len(content)):
            break
        value = content[at + 2 : at + size]
        if content[at] == 2 and size == 4:
            mss = int.from_bytes(value)
        elif content[at] == 3 and size == 3:
            shift = min(value[0], 14)
        stamps |= content[at] == 8 and size == 10
        sack |= content[at] == 5 and size >= 10
        at += size
    seen = tuple(rows[name][0].item() for name in ("mss", "window_shift", "has_timestamps", "sack"))
    must(seen == (mss, shift, stamps, sack), "options are read", content, seen, (mss, shift, stamps, sack))


def config(data: bytes) -> None:
    """A configuration is read, or refused in a line."""
    with as_file(data) as path, redirect_stderr(io.StringIO()):
        file = path.rename(path.with_name("wiredoctor.toml"))
        try:
            read = config_file.configuration(str(file), _catalogue())
            config_file.check_thresholds(read, _catalogue())
        except UsageError as error:
            must(str(error).isprintable(), "a configuration is refused in a line", str(error))


def baseline(data: bytes) -> None:
    """A report of before is read, or refused in a line."""
    with as_file(data) as path:
        try:
            must(all(isinstance(one, str) for one in baselines.fingerprints(str(path))), "fingerprints are text")
        except UsageError as error:
            must(str(error).isprintable(), "a baseline is refused in a line", str(error))


def moments(data: bytes) -> None:
    """--from and --to, --host."""
    text = data.decode("utf-8", "surrogateescape")
    with suppress(ValueError):
        moment = filter.Moment.parse(text)
        must(isinstance(moment.nanoseconds, int), "a moment is a whole number")
        must(isinstance(moment.since(1_700_000_000), int), "a moment is a whole number")
    with suppress(ValueError):
        must(filter.address(text).isprintable(), "an address can be shown", text)


def thresholds(data: bytes) -> None:
    """A limit that a user wrote is a limit, or refused."""
    text = data.decode("utf-8", "surrogateescape")
    for default in ("30 ms", "8 segments", "25 %", "4096 bytes"):
        limit = Threshold(default, "because")
        limit.key = ("rule", "limit")
        try:
            written = limit.parse(text)
        except ValueError:
            continue
        with findings.configured({limit.key: written}):
            must(limit.value >= 0, "a limit is a number", written)
        must(limit.parse(written) == written, "a limit that was read is read again", written)


def texts(data: bytes) -> None:
    """Whatever is shown is safe to show, and masked targets keep their secrets."""
    text = data.decode("latin-1")
    for mask in (redact.masked_target, redact.masked_host, redact.masked_method, redact.masked_reason):
        shown = mask(text)
        must(mask(shown) == shown, f"what {mask.__name__} has masked stays as it is", text, shown, mask(shown))
    query = text.partition("?")[2]
    if re.match(r"/[^\x00-\x20\x7f?]*\?", text) and re.fullmatch(r"[a-z]+=[0-9]+", query):
        must(redact.masked_target(text).endswith("=(masked)"), "the value of a query is masked", text)
    for foreign in (text, data.decode("utf-8", "surrogateescape")):
        must(words.clean(foreign).isprintable(), "text can be shown", foreign)
        must(findings.printable(foreign).isprintable(), "text can be shown", foreign)
        must(len(findings.shorten(foreign, 20)) <= 20, "what is shortened is short", foreign)
        findings.fingerprint("r", None, None, foreign, foreign, foreign)
    number = int.from_bytes(data[:8].ljust(8, b"\0"), signed=True)
    must(durations.duration_text(number).isprintable(), "a duration")
    must(words.size(abs(number)).isprintable(), "a size")
    must(len(findings.rfc3339(number)) >= 30, "a time")


@cache
def _catalogue() -> dict[str, object]:
    from wiredoctor.pipeline import catalogue

    return dict(catalogue())


PARSERS: dict[str, Parser] = {
    "heads": heads,
    "options": options,
    "config": config,
    "baseline": baseline,
    "moments": moments,
    "thresholds": thresholds,
    "texts": texts,
}

_CONFIGS = [
    b'select = ["stalls"]\n[thresholds.nagle-delayed-ack]\nmin-ack-delay = "20 ms"\n',
    b'[[ignore]]\nrule = "idle-close"\nserver = "10.0.0.1:80"\nreason = "x"\nuntil = 2026-12-31\n',
    b'min-confidence = "high"\nfail-on = "error"\nbaseline = "b.json"\n',
    b"a = " + b"[" * 2_000,
]
_BASELINES = [
    b'{"findings": [{"fingerprint": "0123456789abcdef"}], "summary": {}}',
    b'{"fingerprint": "a", "rule": "b"}\n{"summary": {}}\n',
    b"[" * 3_000,
    b'{"findings": ' + b"9" * 5_000 + b"}",
    b"[1, 2]",
]
_WORDS = [b"12.5", b"2026-01-31T12:00:00.5Z", b"1e999", b"nan", b"-0", b"9999-12-31T23:59:59-23:59", b"::1%eth0", b"[::1]",
          b"40ms", b"3 segments", b"25%", "\u0663 ms".encode(), b"999999999.999999999 s"]  # fmt: skip
_TARGETS = [b"/a?b=c&d=e", b"http://u:p@h/x?y", b"/a?b=c?d=e&f", b"?=&=", b"/\xff\x1b[0m"]
_OPTIONS = [b"\2\4\5\xb4\1\3\3\7", b"\1\1\x08\x0a" + bytes(8), b"\1\1\5\x0a" + bytes(8), b"\5\2", b"\2\4\5", bytes(40)]


def seeds() -> Iterator[bytes]:
    """An input or more for each parser."""
    numbers = {name: bytes((number,)) for number, name in enumerate(PARSERS)}
    for name, inputs in (
        *(("heads", [*tokens.HEADS, *tokens.FIELDS]), ("options", _OPTIONS), ("config", _CONFIGS), ("baseline", _BASELINES)),
        *(("moments", _WORDS), ("thresholds", _WORDS), ("texts", [*_TARGETS, *_WORDS])),
    ):
        yield from (numbers[name] + content for content in inputs)
