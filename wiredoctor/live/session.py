"""A live capture: what one process writes, this one reads and analyzes as it comes, with the same core as a file.

It ends as a file does: the report is what `analyze` says of what was written. Until then findings are told as soon as nothing
that may come can change them (`finality`).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from wiredoctor import diagnosis, limits, rule_engine
from wiredoctor.capture import Budget, CaptureError
from wiredoctor.capture.files import OpenFiles
from wiredoctor.engine.growing import GrowingCapture
from wiredoctor.engine.live import LiveAnalysis
from wiredoctor.engine.opening import open_descriptor
from wiredoctor.engine.second_pass import SecondPass
from wiredoctor.findings import Finding, Report, configured
from wiredoctor.live.finality import Certain
from wiredoctor.live.recorder_client import Event, Order, Recorder
from wiredoctor.live.resting import Resting
from wiredoctor.recording.folder import PrivateFolder
from wiredoctor.rule_engine import RuleModule, catalogue, set_thresholds
from wiredoctor.rule_engine.candidates import Found
from wiredoctor.spill import Folder
from wiredoctor.tables import SECOND
from wiredoctor.text.durations import duration_text
from wiredoctor.text.redact import showing

BATCH = 20_000
"""Packets that are analyzed at once, at the most: what happens meanwhile waits for them."""

TICK = 0.2
"""Seconds between two looks at what has come, at the least: each costs the same for one packet as for a thousand."""

BUSY = 0.2
"""The part of a processor that may be spent on looks at next to nothing."""

LONGEST_TICK = 0.5
"""Seconds."""

CLEANING = 60.0
"""Seconds after which it is looked what can be forgotten."""

LATE = {"tcpdump": 2.5}
"""Seconds after which every packet of a time has come, where that is more than one: how long a backend holds packets back."""


@dataclass(frozen=True)
class Status:
    """How it stands. Packets: captured, and analysed; `dropped` by the kernel, None where that is not known yet. `lag`: seconds
    by which the analysis is behind, `behind`: bytes that it has not read. `waiting`: candidates that may still change."""

    backend: str = ""
    captured: int = 0
    analysed: int = 0
    dropped: int | None = None
    connections: int = 0
    open: int = 0
    exchanges: int = 0
    lag: float = 0.0
    behind: int = 0
    waiting: int = 0


@dataclass
class News:
    """What a look has brought: findings that are certain now, what else is to be said, and how it stands."""

    findings: list[Finding] = field(default_factory=list[Finding])
    notes: list[str] = field(default_factory=list[str])
    status: Status = field(default_factory=Status)


@contextmanager
def watch(
    order: Order,
    name: str,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    thresholds: Mapping[str, Mapping[str, str | int]] | None = None,
    show_secrets: bool = False,
    recorder: Recorder | None = None,
    rows: str | None = None,
) -> Generator[Session]:
    """Capture what is ordered, and analyze it. `name` is what reports call it; the other words are those of `analyze`.

    If the order names no file, packets are in a ring of files without names. `recorder`: one that was started with this order,
    and that waits; `rows`: a folder for rows. Otherwise both are made here. Raises RecorderError if capturing cannot begin.
    """
    everything = catalogue()
    chosen = rule_engine.select(everything, select, ignore)
    modules = rule_engine.with_causes(chosen, everything)
    rule_engine.begin(modules)
    with ExitStack() as stack:
        held: list[Any] = []
        stack.enter_context(diagnosis.without_collector())
        gc.freeze()  # what is there from the beginning is none of what has to be looked at every minute
        stack.callback(gc.unfreeze)
        stack.enter_context(configured(set_thresholds(everything, thresholds or {})))
        stack.enter_context(showing(show_secrets))
        capture = stack.enter_context(GrowingCapture(name))
        if recorder is None:
            folder = PrivateFolder()
            held.append(folder)  # the report keeps it: its rows may be in it
            rows = folder.rows_path
            recorder = stack.enter_context(Recorder(replace(order, folder=folder.path)))
        else:
            recorder.begin()
        yield Session(capture, recorder, modules, list(chosen), everything, secrets=show_secrets, rows=rows, resources=held)


class Session:
    """A live capture that runs. `clock`: nanoseconds since 1970, by the clock that stamps the packets."""

    def __init__(
        self,
        capture: GrowingCapture,
        recorder: Recorder,
        modules: Mapping[str, RuleModule],
        chosen: list[str],
        everything: Mapping[str, RuleModule],
        *,
        secrets: bool,
        rows: str | None = None,
        resources: Sequence[Any] = (),
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._capture, self._recorder = capture, recorder
        self._modules, self._chosen, self._everything, self._secrets = modules, chosen, everything, secrets
        self._analysis = LiveAnalysis(capture, modules, Folder(rows), rule_engine.cutoffs(modules))
        self._certain = Certain(self._analysis, modules, chosen)
        self._resting = Resting(self._analysis, modules, self._certain.gateway_clients)
        self._analysis.listener = self._certain.finish
        self._memory: dict[str, Any] = {}
        self._clock, self._resources = clock, resources
        self._next, self._cleaned = 0.0, time.monotonic()
        self._found_in: dict[int, None] = {}
        self._lost = self._steps = 0
        self._damaged = False
        self._unreadable = ""

    @property
    def order(self) -> Order:
        """What is captured, and where it is written."""
        return self._recorder.order

    @property
    def over(self) -> bool:
        """Nothing more is captured, and all that was is analysed."""
        return self._recorder.over and bool(self._unreadable or not self._capture.behind)

    @property
    def ended(self) -> tuple[str, str]:
        """Why capturing ended: stopped, duration, packets, full, backend, died or signal; and a line, which may be empty."""
        return self._recorder.progress.ended or "", self._recorder.progress.text

    def stop(self) -> None:
        """Ends capturing. What was captured is still analysed: look until it is over."""
        self._recorder.stop()

    def look(self, patience: float) -> News:
        """Wait for packets, this many seconds at most, and analyze what has come."""
        news = News()
        try:
            self._look(patience, news)
        except CaptureError as error:
            self._unreadable = str(error)
            news.notes.append(self._unreadable)
            self.stop()
        news.status = self.status()
        return news

    def _look(self, patience: float, news: News) -> None:
        end = time.monotonic() + patience
        while True:
            now = time.monotonic()
            until = end if self._capture.behind else min(end, now + self._due_in())
            wait = 0.0 if self._capture.behind and now >= self._next else max(min(end, max(self._next, now)) - now, 0.0)
            self._hear(self._recorder.events(wait if self._capture.behind else max(until - now, 0.0)), news)
            self._capture.extend(self._recorder.progress.bytes)
            now = time.monotonic()
            if self._unreadable:
                return
            if self._capture.behind and (now >= self._next or self._recorder.over):
                news.findings += self._analyse()
                self._watch_clock(news)
                break
            if not self._capture.behind and not self._recorder.over:
                news.findings += self._pass_time()
            if now >= end or self._recorder.over or news.findings:
                break
        self._tell_damage(news)

    def _hear(self, events: list[Event], news: News) -> None:
        for event in events:
            kind = event["event"]
            if kind == "file":
                self._capture.add(int(event["descriptor"]), int(event["begin"]))
            elif kind == "removed":
                self._remove(int(event["end"]), news)
            elif kind == "started":
                news.notes.append(str(event["text"]))
            elif kind == "interface":
                news.notes.append(f"{event['name']} is {event['state']}")
            elif kind == "note":
                news.notes.append(str(event["text"]))

    def _remove(self, end: int, news: News) -> None:
        """The ring goes on. What is not read yet is kept though it is removed, as much again as the ring holds; more is lost."""
        ring = self._recorder.order.ring
        least = 0 if ring is None else end - ring.files * ring.bytes
        if least > self._capture.records.position:
            if not self._lost:
                news.notes.append(
                    "the analysis is so far behind that the ring overwrites what it has not read: see --ring, --filter"
                )
            self._lost += self._capture.skip(least)
        self._capture.removed(end, self._analysis.needed_from())

    def _tell_damage(self, news: News) -> None:
        """Somebody else has written into the file, or cut it off."""
        damage = self._capture.records.damage
        if damage is not None and not self._damaged:
            self._damaged = True
            news.notes.append(f"the file was changed while it was written: {damage}; what follows is not analysed")

    def _analyse(self) -> list[Finding]:
        """Analyze what comes next, and return the findings that are certain now."""
        begun = time.monotonic()
        self._found(self._analysis.step(BATCH), self._analysis.clock)
        found = self._certain.tell()
        if begun - self._cleaned > CLEANING:
            self._cleaned = begun
            self._analysis.forget(self._found_in)
            gc.collect()  # nothing is in a cycle for long, but days are long
        took = time.monotonic() - begun
        self._next = begun + took + (0 if self._capture.behind else min(max(TICK, took / BUSY), LONGEST_TICK))
        return found

    def _silent_until(self) -> int | None:
        """Up to when everything has come (ns since the first packet), where nothing is behind; None before the first, and
        where nothing is read any more."""
        first = self._capture.first_time if self._capture.records.damage is None else None
        late = LATE.get(self._recorder.progress.backend, 1.0)
        return None if first is None else self._clock() - first - round(late * SECOND)

    def _due_in(self) -> float:
        """Seconds until silence alone decides something, if it lasts so long; infinite where nothing waits for that."""
        clock, deadline = self._silent_until(), self._deadline()
        return inf if clock is None or deadline is None else max(deadline - clock, 0) / SECOND

    def _deadline(self) -> int | None:
        """When the time decides something without any packet (ns since the first); None if nothing waits for that."""
        times = [time for time in (self._analysis.deadline, self._resting.due) if time is not None]
        return min(times, default=None)

    def _watch_clock(self, news: News) -> None:
        """Steps of the clock are said while they are news; the report has them all."""
        steps = self._analysis.steps
        for step in steps.first[self._steps :]:
            back = duration_text(step.time_before - step.time)
            news.notes.append(f"the clock was set back by {back} (frame {step.frame}): times across that are not judged")
        self._steps = len(steps.first)

    def _pass_time(self) -> list[Finding]:
        """On a silent link time passes all the same: what waits for that is over a second late."""
        clock, deadline = self._silent_until(), self._deadline()
        if clock is None or deadline is None or deadline > clock:
            return []
        self._found(self._analysis.pass_time(clock), clock)
        return self._certain.tell()

    def _found(self, found: Found, clock: int) -> None:
        found = self._resting.keep(rule_engine.judge(self._modules, found, self._memory, live=True)) | self._resting.take(clock)
        self._certain.resting = self._resting.connections
        if not found:
            return
        self._analysis.found.append(found)
        for rows in found.values():
            self._found_in |= dict.fromkeys(rows["connection"].drop_nulls().unique().to_list())
        while len(self._found_in) > limits.CANDIDATES.value:
            del self._found_in[next(iter(self._found_in))]
        steps = self._analysis.steps.frames
        found = rule_engine.unsure_across(found, self._modules, sorted(self._analysis.shuffled.frames))
        self._certain.add(rule_engine.without_times_across(found, self._modules, sorted(steps)) if steps else found)

    def status(self) -> Status:
        """How it stands now."""
        a, c, told = self._analysis, self._capture, self._recorder.progress
        lag = 0.0
        if c.behind and c.first_time is not None:
            lag = max(self._clock() - c.first_time - a.latest, 0) / SECOND
        return Status(
            backend=told.backend, captured=told.packets, analysed=c.records.frame, dropped=told.dropped,
            connections=a.core.flows.next_id, open=a.open_connections,
            exchanges=a.exchanges.rows, lag=lag, behind=c.behind, waiting=self._certain.waiting,
        )  # fmt: skip

    def report(self) -> Report:
        """The whole diagnosis, as of the end."""
        a = self._analysis
        a.listener = None

        def judge(found: Found) -> Found:
            return self._resting.keep(rule_engine.judge(self._modules, found, self._memory, live=True))

        a.finish(judge)
        a.found.append(self._resting.take(None))
        done = diagnosis.diagnose(
            self._capture, a, self._modules, self._chosen, a.found, a.connections, a.exchanges, judge, live=True
        )  # fmt: skip
        if self._lost:
            done.limits.append(f"{self._lost:,} bytes were overwritten in the ring before they could be analysed")
        if restarts := self._recorder.progress.restarts:
            times = "once" if restarts == 1 else f"{restarts} times"
            done.limits.append(f"the capturing program ended unexpectedly {times}: packets may be missing until it ran again")
        made = diagnosis.report([done], self._modules, self._everything, self._chosen, secrets=self._secrets)
        made.resources.extend(self._resources)
        if self.order.file is not None and self.order.ring is None:
            descriptor = self._capture.first_descriptor
            if descriptor is not None:
                with suppress(CaptureError):
                    kept = open_descriptor(descriptor, self.order.file, OpenFiles(Budget()))
                    made.again[done.summary.file] = SecondPass(
                        kept, done.connections.scan, rule_engine.cutoffs(self._modules), secrets=self._secrets
                    )
        made.incomplete += self._why_incomplete()
        return made

    def _why_incomplete(self) -> list[str]:
        """Return a sentence for each reason why the capture does not reach its end."""
        reason, text = self.ended
        found = [f"The capture ended early: {text}."] if reason in ("full", "backend", "died", "signal") else []
        damage = self._unreadable or self._capture.records.damage
        if damage:
            found.append(f"The capture was read only in part: {damage}.")
        return found
