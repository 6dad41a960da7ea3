"""Redact text from packets for reports: known names and forms are kept, and everything else becomes MASKED.

Within `showing_secrets(True)`, nothing is redacted. Fingerprints always use `identity_target`. Text is decoded as Latin-1, one
character per byte. No input raises an error, and the run time is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from wiredoctor.text.regex import Regex

_SHOWING: ContextVar[bool] = ContextVar("secrets are shown", default=False)


@contextmanager
def showing_secrets(shown: bool) -> Generator[None]:
    """In the `with` block, and in this thread only, show targets, names and payload as sent if `shown` is true.

    If `shown` is false, redact them as usual.
    """
    token = _SHOWING.set(shown)
    try:
        yield
    finally:
        _SHOWING.reset(token)


def secrets_are_shown() -> bool:
    """Return whether secrets are shown."""
    return _SHOWING.get()


def safe_traceback(error: BaseException, *, whole: bool = False) -> str:
    """Return the traceback of an error with its notes.

    The error's text may contain bytes of a capture, so it is included only if `whole` is set or secrets are shown.
    """
    import traceback

    parts: list[str] = []
    one: BaseException | None = error
    while one is not None and len(parts) < 10:
        text = f": {one}" if whole or secrets_are_shown() else ""
        notes = "".join(f"\n{note}" for note in getattr(one, "__notes__", ()))
        frames = "".join(traceback.format_tb(one.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{type(one).__name__}{text}{notes}")
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return "\n\n".join(parts[::-1])


MASKED = "(masked)"
"""The replacement for a masked part."""

_MASK = "\ue001"
"""The character for a masked part while a text is being masked. Text from packets is Latin-1, so it cannot contain it."""


def cut(text: str, most: int) -> str:
    """Return the beginning of a masked text. A masked part counts as one character, and is never cut."""
    return text.replace(MASKED, _MASK)[:most].replace(_MASK, MASKED)


def _mask(mask: Callable[[str], str], text: str, masked: str = MASKED) -> str:
    """Return the result of `mask` with `masked` in place of _MASK. A part that is masked already stays as it is."""
    return mask(text.replace(MASKED, _MASK)).replace(_MASK, masked)


# request targets and hosts

_USER = Regex(r"([A-Za-z][A-Za-z0-9+.-]{0,31}:)?//")
_HOST = Regex(rf"(?:\*|{_MASK}|[A-Za-z0-9._-]{{0,255}}|\[[0-9A-Fa-f:.%]{{0,64}}\])(?::[0-9]{{0,5}})?")
_RUN = Regex(r"[A-Za-z0-9_+%-]{16,}")
_WORDS = Regex(r"[A-Za-z0-9]{6,}")
_TURN = Regex(r"(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])")
_CASE = Regex(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[a-z])")
_SECRETS = (
    r"(?:[a-z]*session-?id|sid|(?:[a-z]+[-_])?token|passw(?:or)?d|passwd|pwd|secret|(?:api|access)[-_]?key|otp|sig(?:nature)?)"
)
_PARAMETER = Regex(rf"((?i:(?:[/;&]|%3F|%26|%3B){_SECRETS}(?:=|%3D)))[^/;&]+")
_SEGMENT = Regex(rf"(?i:/(?:{_SECRETS}s?|(?:password-reset|reset-password|magic-link)s?)/)(?![a-z-]*(?:\.[a-z]+)?(?:/|\Z))[^/]+")
_FORMS = Regex(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){2,4}|(?<=/)bot[0-9]+:[A-Za-z0-9_-]{20,}")
_KEYS = Regex(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:AKIA|ASIA)[A-Z0-9]{16,}"  # Amazon Web Services
    r"|gh[oprsu]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_-]{20,}"  # GitHub, GitLab
    r"|[prs]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9]{24,}"  # Stripe
    r"|AIza[A-Za-z0-9_-]{35,}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{28,}"  # Google
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{10,}"  # Slack
    r"|SG\.[A-Za-z0-9_-]{22,}\.[A-Za-z0-9_-]{43,}"  # SendGrid
    r"|npm_[A-Za-z0-9]{36,}|hf_[A-Za-z0-9]{34,}"  # npm, Hugging Face
    r"|sk-(?:[A-Za-z0-9]{32,}|(?:ant|proj|svcacct)-[A-Za-z0-9_-]{20,})"  # OpenAI, Anthropic
    r"|(?<=/)bot[0-9]+%3A[A-Za-z0-9_-]{20,}"  # Telegram, with an escaped colon
    r")"
)
"""Matches keys and tokens that begin with a prefix documented by their issuer."""
_SHORTEST_KEY = 15
"""The length of the shortest text that _KEYS matches: `xoxb-`, then ten characters."""

_HOOK = Regex(
    r"((?<=/)(?:"
    r"(?:services|hooks|workflows|triggers)/[ET][A-Z0-9]+/(?:[AB][A-Z0-9]+/(?:[0-9]+/)?|[0-9]+/)"  # Slack
    r"|webhooks/[0-9]{17,20}/"  # Discord
    r"|IncomingWebhook/"  # Microsoft Teams
    r"|hooks/catch/[0-9]+/"  # Zapier
    r"|with/key/"  # IFTTT
    r"|hooks/(?=[a-z0-9]{26}(?:/|\Z))"  # Mattermost
    r"|hooks/(?:[A-Za-z0-9]{17}|[0-9a-f]{24})/"  # Rocket.Chat
    r"))(?![a-z-]*(?:/|\Z))[^/]+"
)
"""Matches webhook paths, including the secret segment; anyone who knows this segment can post to the webhook."""

_LINK = Regex(
    r"(?:(?:password|pw)[-_]?)?reset(?:[-_]?password)?|recover(?:y)?"
    r"|(?:(?:e[-_]?mail|account)[-_]?)?(?:confirm(?:ation)?|verify|verification|activat(?:e|ion))(?:[-_]?(?:e[-_]?mail|account))?"
    r"|(?:accept[-_]?)?invit(?:e|ation)s?|unsub(?:scribe)?|opt[-_]?out|magic(?:[-_]?links?)?|login[-_]?link|one[-_]?time[-_]?login",
    re.IGNORECASE,
)
"""Matches path segments such as `verify`: in links sent by mail, the segment after such a segment is a secret."""

_PLAIN = Regex(r"[A-Za-z._-]*|v[0-9]{1,2}")
"""Matches path segments that are not redacted even after a segment that matches _LINK: plain words, file names and versions."""

_OF_DJANGO = Regex(r"[0-9a-z]{1,13}-[0-9a-f]{20,64}")
"""Matches tokens of Django's PasswordResetTokenGenerator. The segment before the token is the user's number in Base64, often
only letters.
"""

_BEFORE_AT = Regex(r"[^/]+@")
_USERS = Regex(r"(?<=//)[^/@]*:[^@]*@")
_NAME = Regex(rf"[A-Za-z0-9_.\[\]$:%*{_MASK}!~'()+,@/-]{{1,64}}")
_END = Regex(r"[\x00-\x20\x7f]")


def masked_target(target: str) -> str:
    """Return a request target without secrets: its path, and the names in its query.

    Values in the query become MASKED, and so do user information and any part of the query without `=`. A fragment is removed.
    The number and the names of query parameters are kept (RFC 3986 sections 3.2.1 and 3.4). The rest of the path is kept as well,
    because requests cannot be distinguished without it.

    Secrets in the path become MASKED. They are recognized by name (`;jsessionid=`, /token/...), by form (JSON Web Tokens, RFC
    7519; user information of a URI; keys of known issuers), or as the end of a link (/verify/..., webhooks). Masking a masked
    target again changes nothing.
    """
    return _mask(partial(_masked_target, mask_path=_masked_path), target)


def identity_target(target: str) -> str:
    """Return a request target in the form that fingerprints and `[[ignore]]` entries use: keys and links in its path are not
    masked, and other masked parts are `*`.

    This form must never change: otherwise, findings would no longer match existing baselines.
    """
    return _mask(partial(_masked_target, mask_path=_identity_path), target, "*")


def identity_method(method: str) -> str:
    """Return a method in the form that fingerprints use, which must never change: `*` if it is masked."""
    return _mask(_masked_method, method, "*")


def _masked_target(target: str, mask_path: Callable[[str], str]) -> str:
    cut = _END.search(target)
    if cut is not None:
        return f"{_masked_target(target[: cut.start()], mask_path)} {_MASK}"
    place, rest = "", target
    if not target.startswith("/"):
        start = _USER.match(target)
        begin = start.end() if start else 0
        end = min((i for i in (rest.find(sign, begin) for sign in "/?#") if i >= 0), default=len(rest))
        place, rest = rest[:begin] + _masked_host(rest[begin:end]), rest[end:]
    path, mark, query = rest.partition("?")
    path = mask_path(path.partition("#")[0])
    if place.endswith(("*", _MASK)):  # a password with a slash looks like a path
        path = _BEFORE_AT.sub(f"{_MASK}@", path)
    return f"{place}{path}?{'&'.join(map(_masked_pair, query.split('&')))}" if mark else f"{place}{path}"


def masked_host(host: str) -> str:
    """Mask a Host field or an authority: user information, parts of a name without dots that look like tokens, invalid hosts."""
    return _mask(_masked_host, host)


def _masked_host(host: str) -> str:
    _, at, name = host.rpartition("@")
    shown = (name if "." in name else _without_tokens(name)) if _HOST.fullmatch(name) else _MASK
    return f"{_MASK}@{shown}" if at else shown


def _masked_pair(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    if not equals:
        return _MASK
    if name:
        name = _without_tokens(name) if _NAME.fullmatch(name) and "@" not in name[1:] else _MASK
    return f"{name}={_MASK}"


def _masked_path(path: str) -> str:
    path = _identity_path(path)
    if len(path) >= _SHORTEST_KEY:
        path = _KEYS.sub(_MASK, path)
    if path.count("/") > 1:
        path = _HOOK.sub(rf"\1{_MASK}", path)
    parts = path.split("/")
    for number, part in enumerate(parts[:-1]):
        if not part or not _LINK.fullmatch(part):
            continue
        # some links have the user before the token
        first, second = parts[number + 1], "/".join(parts[number + 2 : number + 3])
        if not _is_plain(first):
            parts[number + 1] = _MASK
        if not _is_plain(second) if not _is_plain(first) else _OF_DJANGO.fullmatch(second):
            parts[number + 2] = _MASK
    return "/".join(parts)


def _is_plain(part: str) -> bool:
    return _PLAIN.fullmatch(part) is not None and not _random(part)


def _identity_path(path: str) -> str:
    # compiling expressions that cannot match takes longer than analyzing a small capture
    if "=" in path or "%" in path:
        path = _PARAMETER.sub(rf"\1{_MASK}", path)
    if "@" in path:
        path = _USERS.sub(f"{_MASK}@", path)
    if "." in path or ":" in path:
        path = _FORMS.sub(_MASK, path)
    if path.count("/") > 1:
        path = _SEGMENT.sub(lambda found: found[0][: found[0].index("/", 1) + 1] + _MASK, path)
    return path


def without_tokens(text: str) -> str:
    """Mask the parts of a text that look like tokens."""
    return _mask(_without_tokens, text)


def _without_tokens(text: str) -> str:
    return _RUN.sub(lambda run: _MASK if _random(run[0]) else run[0], text)


def _random(run: str) -> bool:
    """Return whether a run of letters, digits and `_+%-` looks random.

    The run looks random if letters and digits alternate repeatedly in one word, or if upper and lower case alternate often in a
    long word.
    """
    return any(
        len(_TURN.findall(word)) > 1 or (len(word) >= 20 and 3 * len(_CASE.findall(word)) >= len(word))
        for word in _WORDS.findall(run)
    )


def target(text: str) -> str:
    """Return a target for the text of a finding, masked unless secrets are shown."""
    return text if secrets_are_shown() else masked_target(text)


def host(text: str) -> str:
    """Return a host for the text of a finding, masked unless secrets are shown."""
    return text if secrets_are_shown() else masked_host(text)


# start lines

_METHOD = Regex(r"[A-Z][A-Z_-]{1,19}")
_METHODS = frozenset(("get", "head", "post", "put", "delete", "connect", "options", "trace", "patch"))

_PHRASES = """
a accepted access account already an and are area at authentication authorization authorized auth available bad be blocked
body busy by bytes can cannot chunked client close closed command communication conflict connection content continue
cookie could created credentials data database denied dependency detected disabled does down due early enhance entity
error established exceeded exist expectation expired extended failed failure fields file find for forbidden format found
gateway gone has have header headers hints host http i id im implemented in incomplete information insufficient internal
invalid is it key large legal length lengthrequired limit line location locked long loop m maintenance many media message
method misdirected missing modified moved multi multiple must negotiates network no non none not now object of offline ok on
only or origin out overload overloaded page partial password payload payment permanent permanently permitted port pragma
precondition process processing protocol protocols proxy range rate reached reasons redirect redirection refused rejected
reported request requested required reset resource responding response retry satisfiable scheme see security seconds
server service session settings set shutting site size slow ssl status storage subnet supported switching system teapot
temporarily temporary the this time timed timeout timedout to token too traffic transformation transport try type unable
unauthorized unavailable under unexpected unknown unprocessable unreachable unreadable unsupported up update upgrade upstream
uri url us use used user variant version was whoa with you your
"""
"""Words of registered reason phrases, and of phrases that common servers use."""

_USUAL_WORDS = frozenset(_PHRASES.split())

_WORD = Regex(r"[^\s,.;:!'()-]+")


def masked_method(method: str) -> str:
    """Return a method if it is registered or consists of capital letters; otherwise MASKED."""
    return _mask(_masked_method, method)


def _masked_method(method: str) -> str:
    return method if not method or method.lower() in _METHODS or _METHOD.fullmatch(method) else _MASK


def masked_reason(reason: str) -> str:
    """Mask the unknown words of a reason phrase, and everything after its first 16 words."""
    return _mask(_masked_reason, reason)


def _masked_reason(reason: str) -> str:
    words = (reason if len(reason) <= 200 else reason[:198]).split(" ")
    more = [_MASK] if len(reason) > 200 or len(words) > 16 else []
    return " ".join([*(_WORD.sub(_keep_usual_word, word) for word in words[:16]), *more])


def _keep_usual_word(word: re.Match[str]) -> str:
    return word[0] if word[0].lower() in _USUAL_WORDS else _MASK


def method(text: str) -> str:
    """Return a method for the text of a finding, masked unless secrets are shown."""
    return text if secrets_are_shown() else masked_method(text)


def reason(text: str) -> str:
    """Return a reason phrase for the text of a finding, masked unless secrets are shown."""
    return text if secrets_are_shown() else masked_reason(text)


# fields

SCHEMES = frozenset(
    (
        *("basic", "bearer", "concealed", "digest", "dpop", "gnap", "hoba", "mutual", "negotiate", "ntlm", "oauth"),
        *("privatetoken", "scram-sha-1", "scram-sha-256", "vapid", "kerberos", "hawk", "mac", "aws4-hmac-sha256", "aws"),
        *("apikey", "api-key", "token", "jwt", "sharedkey", "sharedkeylite", "signature", "wsse", "googlelogin", "tls"),
    )
)
"""Authentication schemes of IANA's registry, and others in use. Any other word in place of a scheme may be a token."""

_FIELDS = """
accept accept-charset accept-encoding accept-language accept-ranges age allow alt-svc authorization cache-control connection
content-disposition content-encoding content-language content-length content-location content-md5 content-range content-type
cookie cookie2 date dav depth destination dnt etag expect expires forwarded from host http2-settings if if-match if-modified-since
if-none-match if-range if-unmodified-since keep-alive last-modified link location lock-token max-forwards mime-version nel origin
overwrite p3p pragma prefer priority proxy-authenticate proxy-authorization proxy-connection range referer refresh
retry-after sec-websocket-accept sec-websocket-extensions sec-websocket-key sec-websocket-protocol sec-websocket-version
server set-cookie set-cookie2 soapaction te timeout trailer transfer-encoding upgrade user-agent vary via
warning www-authenticate x-accel-buffering
"""
_FIELD = Regex(r"(?:[A-Z][a-z]{1,15}|[a-z]{1,16}|[A-Z]{1,6})(?:-(?:[A-Z][a-z]{1,15}|[a-z]{1,16}|[A-Z]{1,6})){1,4}")

FIELD_NAMES = frozenset(_FIELDS.split())
"""Lower-case names of common fields, mostly from IANA's registry."""


def field_name(name: str) -> str:
    """Return a field name if it is certainly a name; otherwise "", because it may be a part of a value.

    A name is certain if it is common or consists of words joined by hyphens. If secrets are shown, every name is returned.
    """
    return name if name.lower() in FIELD_NAMES or _FIELD.fullmatch(name) or secrets_are_shown() else ""


_CODINGS = "aes128gcm br chunked compress dcb dcz deflate exi gzip identity lzma pack200-gzip trailers x-compress x-gzip zstd"
WORDS: Mapping[str, frozenset[str]] = {
    "transfer-encoding": frozenset(_CODINGS.split()),
    "content-encoding": frozenset(_CODINGS.split()),
    "connection": frozenset(["close", "keep-alive", "upgrade", "te", "http2-settings", "proxy-connection"]),
    "proxy-connection": frozenset(["close", "keep-alive"]),
    "expect": frozenset(["100-continue"]),
    "upgrade": frozenset(
        ["websocket", "h2c", "h2", "http/2.0", "tls/1.0", "tls/1.2", "irc/6.9", "connect-udp", "connect-ip", "tcp"]
    ),
    "x-accel-buffering": frozenset(["yes", "no"]),
}
"""The fields whose values are lists of words, and for each field the words that are not redacted."""

_ITEM = Regex(r"[^ \t,]+(?:[ \t]+[^ \t,]+)*")


def redact_words(field: str, value: str) -> str:
    """Mask the unknown words in the value of a field. `field`: a key of WORDS."""
    return _ITEM.sub(lambda item: item[0] if item[0].lower() in WORDS[field] else MASKED, value)


def words(field: str, value: str) -> str:
    """Return the value of a field for the text of a finding, masked unless secrets are shown."""
    return value if secrets_are_shown() else redact_words(field, value)


# payload

_STRUCTURE = Regex(
    rb"</?(?:html|head|body|title|div|span|p|a|h[1-6]|ul|li|table|tr|td|script|style|br|hr|center|meta|link|form|input)\b"
    rb"|<!DOCTYPE html\b|HTTP/[0-9]\.[0-9] [0-9]{3}\b|\A0(?=\r?\n)|([0-9A-Za-z\x80-\xff])",
    re.IGNORECASE,
)


def payload(data: bytes) -> str:
    """Mask payload, because a body may contain a password or token. If secrets are shown, return it unchanged.

    Letters, digits and non-ASCII bytes become `x`. The names of HTML elements, a status line and a chunk size of 0 are kept.
    """
    masked = data if secrets_are_shown() else _STRUCTURE.sub(lambda found: b"x" if found[1] else found[0], data)
    return masked.decode("latin-1")
