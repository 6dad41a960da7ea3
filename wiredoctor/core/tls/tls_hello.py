"""Parse the names and protocols in the ClientHello, and the server's choices in the ServerHello.

See RFC 8446 sections 4.1 and 4.2, RFC 6066 section 3 (server_name), RFC 7301 (ALPN), and RFC 5077 (session tickets). A hello with
inconsistent lengths is ignored.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mypy_extensions import i64

from wiredoctor.core.unsigned import u16

MAX_NAME: Final = 255
"""The maximum size of a host name in bytes (RFC 1035 section 3.1)."""

CLIENT_HELLO: Final = 1
SERVER_HELLO: Final = 2
SERVER_NAME: Final = 0
GROUPS: Final = 10
PROTOCOLS: Final = 16
TICKET: Final = 35
PRE_SHARED_KEY: Final = 41
EARLY_DATA: Final = 42
VERSIONS: Final = 43
KEY_SHARE: Final = 51
HIDING: Final = frozenset({0xFE0D, 0xFFCE})
"""The extensions encrypted_client_hello (RFC 9849), and encrypted_server_name of its earlier drafts."""
VERSION: Final = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}

RETRY_RANDOM: Final = bytes.fromhex("CF21AD74E59A6111BE1D8C021E65B891C2A211167ABB8C5E079E09E2C8A8339C")
"""The random of a ServerHello that is a HelloRetryRequest (RFC 8446 section 4.1.3)."""

TlsFacts = tuple[str, str, str, str, bool, int, bool]
"""The version, the server name, the protocols that the client offers, the chosen one, whether the true name may differ, the
number of the chosen cipher suite (-1: unknown), and whether the session was resumed."""
SILENT: Final[TlsFacts] = ("", "", "", "", False, -1, False)


class Hello(NamedTuple):
    """The content of a hello, as text with one character per byte.

    version: the TLS version that the server chose, or the highest one that the client offers. name: the server name (SNI).
    protocols: the ALPN protocols, such as "h2,http/1.1". hides: a part of the ClientHello is encrypted, so the true name may
    differ. versions: the versions that the client offers, such as "TLS 1.3, TLS 1.2". suites: the number of cipher suites that it
    offers. is_1_3: the server chose TLS 1.3, or a draft of it. early_data: the client offers early data. suite: the number of the
    cipher suite that the server chose, or -1. offers_session: the client offers a session ticket or a pre-shared key. resumes:
    the server chose a pre-shared key. retries: the message is a HelloRetryRequest. shares: the numbers of the groups of the
    client's key shares; the group of the server's share, or that it asks for.
    """

    version: str = ""
    name: str = ""
    protocols: str = ""
    hides: bool = False
    versions: str = ""
    suites: int = 0
    is_1_3: bool = False
    early_data: bool = False
    suite: int = -1
    offers_session: bool = False
    resumes: bool = False
    retries: bool = False
    shares: tuple[int, ...] = ()


NOTHING: Final = Hello()

MAX_KEPT: Final = 4096
"""The maximum number of hellos that are kept so that connections can share them."""


class KnownHellos:
    """The hellos that were read so far. Connections with equal hellos share one object, because clients repeat themselves."""

    def __init__(self) -> None:
        self.known: dict[Hello, Hello] = {}

    def share(self, hello: Hello) -> Hello:
        """Return the kept object that equals a hello."""
        found = self.known.get(hello)
        if found is not None:
            return found
        if len(self.known) >= MAX_KEPT:
            self.known.clear()
        self.known[hello] = hello
        return hello


KNOWN: Final = KnownHellos()


def read_hello(body: bytes, kind: i64) -> Hello:
    """Parse the body of a hello message. Return NOTHING if its lengths are inconsistent."""
    try:
        is_client = kind == CLIENT_HELLO
        end = i64(len(body))
        session = 35 + number(body, 34, 1, end)
        if is_client:
            suites = number(body, session, 2, end)
            at = session + 2 + suites
            at += 1 + number(body, at, 1, end)
        else:
            suites, at = 0, session + 3
        if at > end:
            raise ValueError
        found = extensions_of(body, at)
        name, protocols, supported = found.get(SERVER_NAME, b""), found.get(PROTOCOLS, b""), found.get(VERSIONS)
        legacy = u16(body, 0)
        hello = Hello(
            version_of(legacy, supported, is_client),
            name_of(name) if is_client else "",
            names_of(protocols) if protocols else "",
            any(number in found for number in HIDING),
            versions_of(legacy, supported) if is_client else "",
            int(suites // 2),
            not is_client and supported is not None,
            EARLY_DATA in found,
            -1 if is_client else int(u16(body, session)),
            is_client and (PRE_SHARED_KEY in found or bool(found.get(TICKET, b""))),
            not is_client and PRE_SHARED_KEY in found,
            not is_client and body[2:34] == RETRY_RANDOM,
            shares_of(found.get(KEY_SHARE, b""), is_client),
        )
    except ValueError:
        return NOTHING
    return KNOWN.share(hello)


def extensions_of(body: bytes, start: i64) -> dict[int, bytes]:
    """Return the content of each extension by number, without repetitions of a number. Raise ValueError if lengths do not fit.

    tshark shows repetitions too, but servers reject a hello that has any.
    """
    found: dict[int, bytes] = {}
    end = i64(len(body))
    if start == end:
        return found
    if number(body, start, 2, end) != end - start - 2:
        raise ValueError
    at = start + 2
    while at < end:
        kind, size = int(number(body, at, 2, end)), number(body, at + 2, 2, end)
        at += 4
        if at + size > end:
            raise ValueError
        if kind not in found:
            found[kind] = body[at : at + size]
        at += size
    return found


def number(data: bytes, at: i64, size: i64, end: i64) -> i64:
    """Return the number in the one or two bytes at data[at]. Raise ValueError if they are not before `end`."""
    if at + size > end:
        raise ValueError
    return i64(data[at]) if size == 1 else u16(data, at)


def vector(data: bytes, size: i64) -> bytes:
    """Return the content of a TLS vector. The vector begins with a length field of `size` bytes.

    Raise ValueError unless the length field equals the number of bytes after it.
    """
    end = i64(len(data))
    if size + number(data, 0, size, end) != end:
        raise ValueError
    return data[size:]


def names_of(content: bytes) -> str:
    """Return the protocols of an ALPN extension, separated by commas. Raise ValueError if the lengths are inconsistent."""
    data = vector(content, 2)
    names: list[str] = []
    at, end = i64(0), i64(len(data))
    while at < end:
        size = i64(data[at])
        at += 1
        if at + size > end:
            raise ValueError
        names.append(data[at : at + size].decode("latin-1"))
        at += size
    return ",".join(names)


def name_of(content: bytes) -> str:
    """Return the host name in a server_name extension; empty if it contains none."""
    if not content:
        return ""
    names = vector(content, 2)
    at, end = i64(0), i64(len(names))
    while at < end:
        kind, size = i64(names[at]), number(names, at + 1, 2, end)
        at += 3
        if at + size > end:
            raise ValueError
        if kind == 0:
            return names[at : at + size].decode("latin-1") if size <= MAX_NAME else ""
        at += size
    return ""


def version_of(legacy: i64, supported: bytes | None, is_client: bool) -> str:
    """Return the version that a hello names: the one that the server chose, or the highest one that the client offers."""
    if supported is None:
        return VERSION.get(int(legacy), "")
    if not is_client:
        return VERSION.get(int(u16(supported, 0)), "") if len(supported) == 2 else ""
    known = known_versions(supported)
    return VERSION[max(known)] if known else ""


def versions_of(legacy: i64, supported: bytes | None) -> str:
    """Return the versions that a ClientHello offers, newest first. Without the extension, it offers all up to `legacy`."""
    known = [int(legacy)] if supported is None else known_versions(supported)
    return ", ".join([VERSION[one] for one in sorted(known, reverse=True) if one in VERSION])


def known_versions(supported: bytes) -> list[int]:
    """Return the known numbers in the supported_versions of a ClientHello."""
    offered = vector(supported, 1)
    return [one for one in numbers_in(offered) if one in VERSION]


def numbers_in(data: bytes) -> list[int]:
    """Return the 16-bit numbers of a list."""
    found: list[int] = []
    at, end = i64(0), i64(len(data))
    while at + 2 <= end:
        found.append(int(u16(data, at)))
        at += 2
    return found


def shares_of(content: bytes, is_client: bool) -> tuple[int, ...]:
    """Return the groups in a key_share extension (RFC 8446 section 4.2.8), except reserved ones (GREASE)."""
    if not content:
        return ()
    if not is_client:
        return (int(number(content, 0, 2, i64(len(content)))),)
    data = vector(content, 2)
    found: list[int] = []
    at, end = i64(0), i64(len(data))
    while at < end:
        group = int(number(data, at, 2, end))
        at += 4 + number(data, at + 2, 2, end)
        if group & 0x0F0F != 0x0A0A:
            found.append(group)
    return tuple(found)
