"""Record which bytes of heads and chunk framing are missing from the capture."""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor.core.http1.http_state import Cuts, HttpState
from wiredoctor.core.http1.reader import STARTS, Reader
from wiredoctor.core.http1.stream import CUT, Range


def note_gap_in_framing(conversation: HttpState, reader: Reader, found: Range, is_expected: bool) -> None:
    """Record that the bytes of `found` are missing, at a place where a head or chunk framing may be.

    They were not captured, or the snap length cut them off. `is_expected`: these bytes certainly contain a part of a head or
    of chunk framing.
    """
    conversation.note_gap(found.time)
    partial = reader.partial
    is_known = conversation.client >= 0 or (partial is not None and partial.start[:4] in STARTS)
    if found.at == CUT and is_expected and is_known:
        note_cut(conversation, found.frame, found.time)


def note_cut(conversation: HttpState, frame: i64, time: i64) -> None:
    """Record that the snap length cut off a packet inside a head or chunk framing."""
    cuts = conversation.cuts
    if cuts is None:
        cuts = conversation.cuts = Cuts()
    if cuts.count == 0 or frame < cuts.frame:
        cuts.frame, cuts.time = frame, time
    cuts.count += 1
