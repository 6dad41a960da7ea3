"""Find out why the timestamps of a capture go backward, and decide how the capture must be read."""

from __future__ import annotations

from collections.abc import Callable

from wiredoctor.capture.files import CaptureFile
from wiredoctor.capture.model import CaptureError
from wiredoctor.core.capture.disorder import Disorder
from wiredoctor.core.capture.file_formats import open_records
from wiredoctor.core.capture.records import Records
from wiredoctor.core.capture.sorting import Lanes
from wiredoctor.core.loop import Core
from wiredoctor.core.tcp.host_clocks import ClockShifts
from wiredoctor.engine.opening import CaptureFiles, ContentSource, open_capture_records
from wiredoctor.engine.row_tables import take_tables
from wiredoctor.engine.run import core_cutoffs
from wiredoctor.limits import LimitsReached
from wiredoctor.rule_engine.cutoffs import Cutoffs
from wiredoctor.text.durations import duration_text

CLOCKS_APART = (
    "The capture was merged from captures of hosts whose clocks differ, by up to {}: packets were acknowledged before their "
    "second copies were captured. The clocks were compared by these copies, and all times are those of the clock that is most "
    "ahead. Connections on a loopback address keep the times of the file, unless its interfaces show who captured them."
)

_STEP = 10_000
"""The number of packets read between two calls of `is_stopped`."""


def examine(capture: CaptureFiles, is_stopped: Callable[[], bool]) -> list[str]:
    """Examine the time order of a capture's files, and set how they are read from now on.

    Return a sentence for each limit that was reached. A file that is far from time order will be sorted by time, but no packet
    is moved across a point at which a clock was set back.
    """
    met = LimitsReached()
    capture.is_order_known, capture.first_pass = True, None
    earliest: list[int] = []
    proved: list[bool] = []
    for number, member in enumerate(capture.members):
        try:
            disorder = Disorder(_open(member))
        except CaptureError:  # the file was removed in the meantime, which the next pass reports
            continue
        while disorder.read(_STEP) and not is_stopped():
            pass
        first = disorder.records.times.first
        if first is None:
            continue
        if disorder.is_unsorted():
            lanes = Lanes(_open(member), disorder.set_back())
            while lanes.read(_STEP) and not is_stopped():
                pass
            if lanes.limit is None:
                lanes.finish()
                capture.lanes[number] = lanes
                capture.first_times[number] = lanes.first_time
                earliest.append(lanes.first_time or first)
                continue
            met.add(lanes.limit)
        capture.is_shuffled = capture.is_shuffled or disorder.is_shuffled()
        proved.append(disorder.is_proved() or not disorder.is_shuffled())
        earliest.append(first + min(int(disorder.earliest), 0))
    capture.is_disorder_proved = all(proved)
    capture.origin = min(earliest, default=None)
    return met.messages()


def compare_clocks(capture: CaptureFiles, cutoffs: Cutoffs, is_stopped: Callable[[], bool]) -> list[str]:
    """Measure how far the clocks of hosts are apart whose captures were merged, and have them corrected from now on.

    Return a sentence for the report if there are such hosts.
    """
    core = Core(open_capture_records(capture), core_cutoffs(cutoffs), LimitsReached(), False, False)
    core.http_of = set()
    core.copies.keep()
    if capture.is_shuffled:
        core.put_in_order(is_growing=False, is_proved=capture.is_disorder_proved)
    while core.run(_STEP) and not is_stopped():
        take_tables(core)
    shifts = ClockShifts(core.copies.clocks)
    capture.are_clocks_known, capture.first_pass = True, None
    if not shifts.longest:
        return []
    capture.clock_shifts = shifts
    return [CLOCKS_APART.format(duration_text(shifts.longest))]


def _open(member: CaptureFile) -> Records:
    return open_records(ContentSource(member.open(), 0), member.name)
