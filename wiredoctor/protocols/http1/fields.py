"""Parse field lines (RFC 9110 section 5, RFC 9112 section 6). Text is Latin-1, one character per byte."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from wiredoctor import limits
from wiredoctor.tables import NEVER
from wiredoctor.text.redact import SCHEMES
from wiredoctor.text.regex import Regex

PAGES = frozenset(("text/html", "application/xhtml+xml"))
"""The media types of HTML pages."""
EVENT_STREAMS = frozenset(("text/event-stream", "application/x-ndjson", "multipart/x-mixed-replace"))
"""Media types of event streams: server-sent events (HTML standard), newline-delimited JSON, server push of images."""

ENDLESS = frozenset(
    (
        *("text/event-stream", "multipart/x-mixed-replace", "application/x-rtsp-tunnelled"),
        *("application/vnd.amazon.eventstream", "gnss/data"),
    )
)
"""Media types of responses that never end by themselves.

They are server-sent events, server push of images, RTSP in HTTP, event streams of AWS, and NTRIP corrections.
"""

PLAYLISTS = ("mpegurl", "scpls")
"""Suffixes of audio and video types whose body is a playlist."""

Line = tuple[bytes, str, int]
"""The lower-case name and the value of a relevant field line, and its grammar faults as bits.

The name is empty if only the faults are relevant.
"""

BARE_LF, SPACE_BEFORE_COLON, FOLDING, CONTROL_BYTE, NO_NUMBER, NO_COLON = 1, 2, 4, 8, 16, 32
EMPTY_NAME, SPACE_IN_NAME, EIGHT_BIT_NAME, NAME_CHARACTER = 64, 128, 256, 512
LENGTH_TWICE, LENGTH_LIST, IDENTITY_CODING = 1024, 2048, 4096
STATUS_DIGITS, STATUS_SPACING, STATUS_CASE, MINOR_VERSION, MAJOR_VERSION = 8192, 16384, 32768, 65536, 131072
"""Flag bits, one for each grammar fault in a head.

Sources: RFC 9112 sections 2.2, 2.3, 4, 5 and 6.1, RFC 9110 sections 2.5, 5.1, 5.5, 8.6 and 15.
"""

CONTROLS = bytes((*range(9), *range(10, 32), 127))
"""The bytes that no line may contain, including CR; the tab is the only control byte allowed (RFC 9110 section 5.5)."""


@dataclass(slots=True, eq=False, repr=False)
class Fields:
    """The content of the header fields that framing, connection handling and rules need. `number` is unique per instance."""

    number: int
    content_length: int | None = None
    bad_content_length: bool = False
    lengths_differ: bool = False
    has_content_length: bool = False
    transfer_codings: tuple[str, ...] = ()
    has_identity_coding: bool = False
    connection_close: bool = False
    connection_keep_alive: bool = False
    connection_upgrade: bool = False
    upgrade: str = ""
    expect_continue: bool = False
    host: str = ""
    user_agent: str = ""
    referer: str = ""
    has_credentials: bool = False
    credentials_scheme: str = ""
    credentials_user: int = NEVER
    server: str = ""
    location: str = ""
    via: str = ""
    content_type: str = ""
    content_encoding: str = ""
    keep_alive_timeout: int = -1
    keep_alive_max: int = -1
    auth_scheme: str = ""
    auth_token: bool = False
    auth_stale: bool = False
    has_retry_after: bool = False
    retry_after: int = -1
    """The value of Retry-After in seconds; -1 if there is none or it is a date."""
    retry_count: int = -1
    """How many tries of its call came before this request, as its client says (X-Stainless-Retry-Count); -1 if unknown."""
    accel_buffering: str = ""
    forwarded: bool = False
    """True if there is a field that gateways add, such as Via or X-Forwarded-For."""
    forwarded_for: str = ""
    forwarded_server: bool = False
    has_websocket_key: bool = False
    websocket_version: int = -1

    navigation: bool = False
    """True if a browser requests a page."""
    accepts_events: bool = False
    """True if Accept names text/event-stream."""
    event_source: bool = False
    """True if Accept names text/event-stream alone."""
    last_event_id: bool = False
    """True if there is a field Last-Event-ID."""
    range_start: int = NEVER
    """The offset of the first byte that Range requests (N in `bytes=N-`); NEVER if unknown."""
    content_range: str = ""
    """Content-Range, if its value is a range of bytes; "" otherwise."""
    range_length: int = NEVER
    """The number of bytes in the range that `content_range` names; NEVER if there is none."""
    malformed: int = 0
    """The grammar faults as bits, such as BARE_LF."""
    cut: bool = False
    """True if the value of a field was too long and only its beginning is stored."""
    event_stream: bool = False
    """True if the parts of the body should arrive one by one, according to its media type."""
    endless: bool = False
    """True if the body never ends by itself."""
    attachment: bool = False
    """True if Content-Disposition declares the body to be a file."""
    icy: bool = False
    """True if there is a field that radio stations send (Icecast, SHOUTcast)."""

    @property
    def suspect(self) -> bool:
        """True if the fields may have a fault that core/http1/faults.py reports."""
        return bool(self.malformed or self.transfer_codings) or self.bad_content_length


def _list(values: list[str]) -> list[str]:
    return [item.strip().lower() for value in values for item in value.split(",") if item.strip()]


def _content_length(fields: Fields, values: list[str]) -> None:
    """Parse Content-Length (RFC 9112 section 6.3 rule 5): a list of equal numbers counts as one; anything else is invalid."""
    fields.has_content_length = True
    text = values[0]
    if len(values) == 1 and text.isdigit() and text.isascii() and len(text) <= 18:
        fields.content_length = int(text)
        return
    items = {item.strip(" \t") for value in values for item in value.split(",")}
    numbers = {item.lstrip("0") or "0" for item in items if item.isascii() and item.isdigit()}
    text = next(iter(numbers), "")
    whole = all(item.isascii() and item.isdigit() for item in items)
    # 18 digits always fit in 64 bits; a longer number is not a plausible length
    good = whole and len(numbers) == 1 and len(text) <= 18
    fields.content_length, fields.bad_content_length = int(text) if good else None, not good
    fields.lengths_differ = len(numbers | {item for item in items if item and not item.isdigit()}) > 1
    if not whole and not fields.lengths_differ:
        fields.malformed |= NO_NUMBER
    elif good:
        fields.malformed |= LENGTH_LIST if any("," in value for value in values) else LENGTH_TWICE if len(values) > 1 else 0


def _transfer_encoding(fields: Fields, values: list[str]) -> None:
    codings = [item.partition(";")[0].strip() for item in _list(values)]
    fields.transfer_codings = tuple(coding for coding in codings if coding != "identity")
    fields.has_identity_coding = "identity" in codings


def _connection(fields: Fields, values: list[str]) -> None:
    options = set(_list(values))
    fields.connection_close = "close" in options
    fields.connection_keep_alive = "keep-alive" in options
    fields.connection_upgrade = "upgrade" in options


def _keep_alive(fields: Fields, values: list[str]) -> None:
    for item in _list(values):
        name, _, number = item.partition("=")
        number = number.strip().strip('"')
        if not (number.isascii() and number.isdigit() and len(number) <= 9):
            continue
        if name.strip() == "timeout":
            fields.keep_alive_timeout = int(number)
        elif name.strip() == "max":
            fields.keep_alive_max = int(number)


def _expect(fields: Fields, values: list[str]) -> None:
    fields.expect_continue = "100-continue" in _list(values)


_USERNAME = Regex(r'\busername="([^"]*)"', re.IGNORECASE)
_STALE = Regex(r"\bstale\s*=\s*\"?true\b", re.IGNORECASE)


def _accept(fields: Fields, values: list[str]) -> None:
    """Record what Accept shows: browsers send HTML first only for pages, and EventSource sends the type of its streams alone."""
    fields.navigation |= values[0].lower().startswith("text/html")
    types = [item.partition(";")[0].rstrip() for item in _list(values)]
    fields.accepts_events = "text/event-stream" in types
    fields.event_source = types == ["text/event-stream"]


def _last_event_id(fields: Fields, values: list[str]) -> None:
    """Record Last-Event-ID (WHATWG HTML section 9.2.4), whatever its value."""
    del values
    fields.last_event_id = True


def _fetch_mode(fields: Fields, values: list[str]) -> None:
    """Parse Sec-Fetch-Mode (W3C, Fetch Metadata Request Headers)."""
    fields.navigation |= values[0].lower() == "navigate"


def _range(fields: Fields, values: list[str]) -> None:
    """Parse the start of the first byte range (RFC 9110 section 14.1.2). Leave it unknown if the range counts from the end."""
    unit, _, ranges = values[0].partition("=")
    first = ranges.partition("-")[0].strip()
    if unit.strip().lower() == "bytes" and first.isascii() and first.isdigit() and len(first) <= 18:
        fields.range_start = int(first)


_BYTE_RANGE = Regex(r"bytes (\d{1,18})-(\d{1,18})/(?:\d{1,18}|\*)", re.IGNORECASE | re.ASCII)


def _content_range(fields: Fields, values: list[str]) -> None:
    """Parse Content-Range (RFC 9110 section 14.4). Ignore it if it is invalid, has another unit, or occurs more than once."""
    found = _BYTE_RANGE.fullmatch(values[0])
    if found and len(values) == 1 and int(found[1]) <= int(found[2]):
        fields.content_range = values[0]
        fields.range_length = int(found[2]) - int(found[1]) + 1


def _credentials(fields: Fields, values: list[str]) -> None:
    """Parse credentials (RFC 9110 section 11.4). If they contain a user name, only its checksum is stored.

    User names are defined in RFC 7617 section 2 and RFC 7616 section 3.4.
    """
    fields.has_credentials = True
    scheme, _, rest = values[0].partition(" ")
    fields.credentials_scheme = _scheme(scheme)
    user = None
    if fields.credentials_scheme == "basic":
        try:
            user = binascii.a2b_base64(rest.encode("latin-1")).partition(b":")[0]
        except binascii.Error:
            user = rest.encode("latin-1")
    elif named := _USERNAME.search(rest) if fields.credentials_scheme == "digest" else None:
        user = named[1].encode("latin-1")
    if user is not None:
        fields.credentials_user = binascii.crc32(user)


def _scheme(text: str) -> str:
    """Return a known authentication scheme in lower case; "" for any other token, which may be the credentials themselves."""
    return scheme if (scheme := text.rstrip(",").lower()) in SCHEMES else ""


def _content_type(fields: Fields, values: list[str]) -> None:
    fields.content_type = _CONTROL.split(bound_text(values[0]), maxsplit=1)[0].partition(";")[0].strip().lower()


def _content_encoding(fields: Fields, values: list[str]) -> None:
    """Store the codings in the order in which they were applied; several fields are one list (RFC 9110 section 5.3)."""
    _text("content_encoding", lower=True)(fields, [", ".join(values)])


def _content_disposition(fields: Fields, values: list[str]) -> None:
    """Parse Content-Disposition (RFC 6266 section 4.2)."""
    fields.attachment = values[0].partition(";")[0].strip().lower() == "attachment"


def _icy(fields: Fields, _values: list[str]) -> None:
    fields.icy = True


def _retry_after(fields: Fields, values: list[str]) -> None:
    fields.has_retry_after = True
    fields.retry_after = _short_number(values[0])


def _retry_count(fields: Fields, values: list[str]) -> None:
    """Parse X-Stainless-Retry-Count, which the SDKs of OpenAI, Anthropic and others send."""
    fields.retry_count = _short_number(values[0])


def _short_number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else -1


def _websocket_key(fields: Fields, values: list[str]) -> None:
    fields.has_websocket_key = bool(values[0])


def _websocket_version(fields: Fields, values: list[str]) -> None:
    """Parse Sec-WebSocket-Version (RFC 6455 sections 4.2.1 and 4.4): the client's version, or the first in a server's list."""
    first = values[0].partition(",")[0].strip()
    if first.isascii() and first.isdigit() and len(first) <= 3:
        fields.websocket_version = int(first)


def _challenge(fields: Fields, values: list[str]) -> None:
    scheme, _, rest = values[0].partition(" ")
    fields.auth_scheme = _scheme(scheme)
    token = rest.strip()
    fields.auth_token = bool(token) and scheme.lower() in ("ntlm", "negotiate") and not _is_rejection(token)
    fields.auth_stale = any(_STALE.search(value) for value in values)


_REJECT = Regex(rb"\xa1(?:[\x00-\x7f]|\x81.|\x82..)0(?:[\x00-\x7f]|\x81.|\x82..)\xa0\x03\x0a\x01\x02", re.DOTALL)
"""A NegTokenResp whose negState is reject (RFC 4178 section 4.2.2)."""


def _is_rejection(token: str) -> bool:
    """Return whether a token (in base64) ends the authentication, so the client has nothing to answer."""
    try:
        return bool(_REJECT.match(binascii.a2b_base64(token[:24].encode("latin-1"))))
    except binascii.Error:
        return False


_CONTROL = Regex(r"[\x00-\x08\x0a-\x1f\x7f]")


def bound_text(text: str) -> str:
    """Return the part of a text that is stored: its first limits.TEXT characters."""
    return text[: limits.TEXT.value]


def _text(name: str, lower: bool = False) -> Callable[[Fields, list[str]], None]:
    """Return a function that stores the text of a field in the attribute `name` of Fields.

    The text ends at a control byte (such as a bare CR), because another field may begin there.
    """

    def read(fields: Fields, values: list[str]) -> None:
        text = bound_text(values[0])
        fields.cut |= len(text) < len(values[0])
        text = _CONTROL.split(text, maxsplit=1)[0]
        setattr(fields, name, text.lower() if lower else text)

    return read


def _via(fields: Fields, values: list[str]) -> None:
    fields.forwarded = True
    _VIA(fields, values)


_VIA = _text("via")


def _read_forwarded(fields: Fields, _values: list[str]) -> None:
    fields.forwarded = True


def _forwarded_server(fields: Fields, _values: list[str]) -> None:
    fields.forwarded = fields.forwarded_server = True


def _read_forwarded_for(fields: Fields, values: list[str]) -> None:
    """Parse X-Forwarded-For. It overrides Forwarded: a gateway that sends both writes the same addresses to both."""
    fields.forwarded = True
    fields.forwarded_for = _addresses(item for value in values for item in value.split(","))


_FOR = Regex(r"(?:^|[;,])\s*for\s*=\s*(\"[^\"]*\"|[^;,\s]*)", re.IGNORECASE)


def _standard_forwarded(fields: Fields, values: list[str]) -> None:
    """Parse Forwarded (RFC 7239 section 4)."""
    fields.forwarded = True
    if not fields.forwarded_for:
        fields.forwarded_for = _addresses(found[1].strip('"') for value in values for found in _FOR.finditer(value))


_ADDRESS = Regex(r"(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]*:[0-9a-f:.]*\])(?::\d{1,5})?|[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*")


def _addresses(items: Iterable[str]) -> str:
    """Return the items as one text, separated by commas.

    Items that are not IP addresses (with or without ports) become "unknown".
    """
    texts = (item.strip().lower() for item in items)
    return bound_text(", ".join(text if _ADDRESS.fullmatch(text) else "unknown" for text in texts))


READERS: dict[bytes, Callable[[Fields, list[str]], None]] = {
    b"content-length": _content_length,
    b"transfer-encoding": _transfer_encoding,
    b"connection": _connection,
    b"keep-alive": _keep_alive,
    b"upgrade": _text("upgrade", lower=True),
    b"expect": _expect,
    b"host": _text("host"),
    b"user-agent": _text("user_agent"),
    b"referer": _text("referer"),
    b"authorization": _credentials,
    b"proxy-authorization": _credentials,
    b"server": _text("server"),
    b"location": _text("location"),
    b"via": _via,
    b"content-type": _content_type,
    b"content-encoding": _content_encoding,
    b"content-disposition": _content_disposition,
    b"www-authenticate": _challenge,
    b"proxy-authenticate": _challenge,
    b"retry-after": _retry_after,
    b"x-stainless-retry-count": _retry_count,
    b"x-accel-buffering": _text("accel_buffering", lower=True),
    b"x-forwarded-for": _read_forwarded_for,
    b"x-forwarded-host": _read_forwarded,
    b"x-forwarded-server": _forwarded_server,
    b"x-real-ip": _read_forwarded,
    b"forwarded": _standard_forwarded,
    b"accept": _accept,
    b"last-event-id": _last_event_id,
    b"sec-fetch-mode": _fetch_mode,
    b"range": _range,
    b"content-range": _content_range,
    b"sec-websocket-key": _websocket_key,
    b"sec-websocket-version": _websocket_version,
    **dict.fromkeys((b"icy-br", b"icy-genre", b"icy-metaint", b"icy-name", b"icy-pub", b"icy-url"), _icy),
}
"""The functions that store a field in Fields, by lower-case field name. They get the values of all lines of the field."""

TEXTS = frozenset(
    (
        b"host",
        b"user-agent",
        b"referer",
        b"server",
        b"via",
        b"upgrade",
        b"content-type",
        b"content-encoding",
        b"x-accel-buffering",
    )
)
"""The fields whose values reports may show. Lines that continue such a field (obsolete line folding) are not shown."""


def field_line(line: bytes) -> Line | None:
    """Return a parsed field line: name in lower case, value, faults. Return None if it is neither relevant nor faulty."""
    name, colon, value = line.partition(b":")
    wrong = CONTROL_BYTE if has_controls(line) else 0
    wrong |= find_name_faults(name) if colon else NO_COLON
    key = name.strip(b" \t").lower()
    if not colon or key not in READERS:
        return (b"", "", wrong) if wrong else None
    return key, value.strip(b" \t").decode("latin-1"), wrong


TOKEN = Regex(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
"""The characters of a field name and of a method (RFC 9110 section 5.6.2)."""
_EIGHT_BITS = bytes(range(128, 256))


def find_name_faults(name: bytes) -> int:
    """Return the faults of a field name as bits, without those that CONTROL_BYTE reports (RFC 9110 section 5.1)."""
    if TOKEN.match(name):
        return 0
    bare = name.strip(b" \t").translate(None, CONTROLS)
    wrong = SPACE_BEFORE_COLON if name.endswith((b" ", b"\t")) else 0
    if not bare:
        return wrong or EMPTY_NAME
    if TOKEN.match(bare):
        return wrong
    if b" " in bare or b"\t" in bare:
        return wrong | SPACE_IN_NAME
    return wrong | (EIGHT_BIT_NAME if bare.translate(None, _EIGHT_BITS) != bare else NAME_CHARACTER)


def has_controls(line: bytes) -> bool:
    """Return whether a line, without its line end, contains forbidden control bytes."""
    return len(line.translate(None, CONTROLS)) != len(line)


def collect(lines: list[Line], number: int) -> Fields:
    """Return the fields of a header section from its field lines; lines with equal names form a list (RFC 9110 section 5.3).

    `number`: the `Fields.number` of the result.
    """
    values: dict[bytes, list[str]] = {}
    fields = Fields(number)
    for name, value, wrong in lines:
        fields.malformed |= wrong
        if name:
            values.setdefault(name, []).append(value)
    for key, texts in values.items():
        READERS[key](fields, texts)
    if fields.has_identity_coding and fields.has_content_length and not fields.transfer_codings:
        fields.malformed |= IDENTITY_CODING
    fields.event_stream, fields.endless = _is_event_stream(fields), _is_endless(fields)
    return fields


def _is_event_stream(fields: Fields) -> bool:
    """Return whether a response is an event stream according to its media type.

    Newline-delimited JSON with a length or a file name counts as a file, not as a stream.
    """
    is_file = fields.content_type == "application/x-ndjson" and (fields.has_content_length or fields.attachment)
    return fields.content_type in EVENT_STREAMS and not is_file


def _is_endless(fields: Fields) -> bool:
    kind, _, name = fields.content_type.partition("/")
    unmeasured = kind in ("audio", "video") and not fields.has_content_length and not name.endswith(PLAYLISTS)
    return fields.content_type in ENDLESS or unmeasured or fields.icy
