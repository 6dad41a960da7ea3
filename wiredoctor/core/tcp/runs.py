"""Track runs of consecutive small segments without a pause or a reply."""

from __future__ import annotations

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.tcp.connection import Side, waits_of
from wiredoctor.core.tcp.segment import Segment
from wiredoctor.core.tcp.waits import Run


def continue_run(own: Side, peer: Side, packet: Packet, segment: Segment, cutoffs: Cutoffs) -> Run | None:
    """Return the run that a segment continues, including this segment; None if there is no such run.

    The segment must come at most `cutoffs.max_run_interval` ns after the previous one. If at least `cutoffs.min_flush_gap` ns
    passed between them, or `min_chunk_gap` after a segment with chunks, the application flushed the previous segment on purpose;
    `Run.flushes` counts this.
    """
    data = own.previous
    if data is None or not data.small or not segment.small_start or segment.fills_gap or segment.opens_gap:
        return None
    if peer.payload_frame > data.frame or data.length >= segment.mss:
        return None
    if not 0 <= packet.time - data.time <= cutoffs.max_run_interval:
        return None
    waits = waits_of(own)
    run = waits.run
    if run is None:
        waits.run = run = Run()
    if run.last_frame != data.frame:
        run.segments = 1
        run.bytes = data.length
        run.flushes = 0
        run.frame = data.frame
        run.time = data.time
    run.segments += 1
    run.bytes += packet.length
    if packet.time - data.time >= (cutoffs.min_chunk_gap if data.is_chunked else cutoffs.min_flush_gap):
        run.flushes += 1
    run.last_frame = packet.frame
    return run
