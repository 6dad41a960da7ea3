"""Analyze a live capture as it grows, with the same core as for a file.

The final report equals that of `analyze` for the captured file. Before the end, findings are reported as soon as nothing can
change them (see finality.py).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Generator, Sequence
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
from wiredoctor.findings import Finding, Report
from wiredoctor.live import quota
from wiredoctor.live.finality import PendingFindings
from wiredoctor.live.held_candidates import HeldCandidates
from wiredoctor.live.quota import PART, Quota, Stages, cpu_time
from wiredoctor.live.recorder_client import Event, Order, Recorder
from wiredoctor.recording.folder import PrivateFolder
from wiredoctor.rule_engine import RuleSet
from wiredoctor.rule_engine.candidates import Candidates
from wiredoctor.settings import Settings
from wiredoctor.storage.spill import Folder
from wiredoctor.tables import SECOND
from wiredoctor.text.durations import duration_text
from wiredoctor.text.redact import showing_secrets

BATCH = 20_000
"""The maximum number of packets per step. Other work waits during a step."""

TICK = 0.2
"""The minimum time in seconds from a step that read all available packets to the next step.

A step costs nearly as much for one packet as for many, so packets are collected until the next step.
"""

BUSY = 0.2
"""The maximum fraction of a processor's time that steps may use. If a step left packets unread, the next step is not delayed."""

LONGEST_TICK = 0.5
"""The maximum time in seconds from a step to the next one while packets arrive, even if steps then exceed BUSY."""

CLEANING = 60.0
"""The time in seconds between two removals of old rows."""

BREATH = 0.05
"""The time in seconds from a look that left work to the next one."""

LATE = {"tcpdump": 2.5}
"""The maximum time in seconds by which a backend delays packets, by name; 1 second for backends that are not named."""


@dataclass(frozen=True)
class Status:
    """The state of a live capture.

    `captured`, `analysed`: the numbers of captured and of analyzed packets. `dropped`: the number of packets dropped by the
    kernel; None if it is not known yet. `connections`, `open`, `exchanges`: the numbers of all connections, of open connections,
    and of finished exchanges. `lag`: the time in seconds by which the analysis is behind the capture; 0 if nothing is unread.
    `unread_bytes`: the number of bytes not read yet. `overwritten`: the number of packets that the ring overwrote before
    they could be analyzed. `waiting`: the number of possible findings that may still change.
    """

    backend: str = ""
    captured: int = 0
    analysed: int = 0
    dropped: int | None = None
    connections: int = 0
    open: int = 0
    exchanges: int = 0
    lag: float = 0.0
    unread_bytes: int = 0
    overwritten: int = 0
    waiting: int = 0


@dataclass
class News:
    """The result of a call of `Session.look`.

    `findings`: the findings that became final. `started`: the line about the start of the capture, or "". `notes`: other lines of
    text about the capture. `status`: the state of the capture.
    """

    findings: list[Finding] = field(default_factory=list[Finding])
    started: str = ""
    notes: list[str] = field(default_factory=list[str])
    status: Status = field(default_factory=Status)


class Arrivals:
    """Measures how long bytes wait until they are read, for a capture whose packets have times of another clock."""

    def __init__(self) -> None:
        self._end, self._since, self._took = 0, 0.0, 0.0

    def lag(self, position: int, end: int, now: float) -> float:
        """Return for how long (s) bytes have waited: the oldest that were measured and are unread, or those read before.

        `position`: the number of bytes read. `end`: the number of bytes that have arrived. `now`: the time in seconds.
        """
        if position >= end:
            self._end = 0
            return 0.0
        if position >= self._end:
            self._took = now - self._since if self._end else 0.0
            self._end, self._since = end, now
        return max(self._took, now - self._since)


@contextmanager
def watch(
    order: Order, name: str, settings: Settings, *, recorder: Recorder | None = None, rows: str | None = None
) -> Generator[Session]:
    """Capture and analyze; yield the session. `name`: the name of the capture in reports.

    If `order` has no file, packets are written to a ring of files without names. `recorder`: a waiting recorder that was started
    with this order. `rows`: the path of a folder for rows that do not fit into memory. If `recorder` is None, a recorder and a
    folder are created. Session.look raises RecorderError if capturing cannot begin.
    """
    rules = rule_engine.load(settings)
    with ExitStack() as stack:
        held: list[Any] = []
        stack.enter_context(diagnosis.without_collector())
        gc.freeze()  # garbage collection need not examine objects that exist from the start
        stack.callback(gc.unfreeze)
        stack.enter_context(rules.configured())
        stack.enter_context(showing_secrets(settings.show_secrets))
        capture = stack.enter_context(GrowingCapture(name))
        if recorder is None:
            folder = PrivateFolder()
            held.append(folder)  # the report keeps the folder alive, because rows of the report may be in the folder
            rows = folder.rows_path
            recorder = stack.enter_context(Recorder(replace(order, folder=folder.path)))
        else:
            recorder.begin()
        yield Session(capture, recorder, rules, secrets=settings.show_secrets, rows=rows, resources=held)


class Session:
    """A running live capture.

    `clock`: a function that returns the current time in ns since 1970, by the clock that also sets the packets' timestamps.
    """

    def __init__(
        self,
        capture: GrowingCapture,
        recorder: Recorder,
        rules: RuleSet,
        *,
        secrets: bool,
        rows: str | None = None,
        resources: Sequence[Any] = (),
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._capture, self._recorder = capture, recorder
        self._rules, self._modules, self._secrets = rules, rules.modules, secrets
        self._analysis = LiveAnalysis(capture, rules.modules, Folder(rows), rules.cutoffs())
        self._pending = PendingFindings(self._analysis, rules.modules, rules.chosen)
        nearby = self._pending.nearby
        self._held = HeldCandidates(self._analysis, rules.modules, self._pending.gateway_clients, nearby)
        self._analysis.listeners = [nearby.see, self._pending.finish]
        self._memory: dict[str, Any] = {}
        self._clock, self._resources = clock, resources
        self._next, self._cleaned = 0.0, time.monotonic()
        self._is_uncleaned = False  # packets were analyzed since the last cleaning
        self._worked = 0.0
        """The time (s) that the work took so far."""
        self._found_in: dict[int, None] = {}
        self._steps = 0
        few = BATCH // 8 or 1
        self._packets = Quota(few, BATCH, 2 * PART)  # the first that wait long may be many
        self._work: Stages[list[Finding]] | None = None
        """What the last look had no time for."""
        self._is_behind = False
        """Whether the last step left packets unread."""
        self._arrivals = Arrivals()
        self._damaged = False
        self._unreadable = ""

    @property
    def order(self) -> Order:
        """The request to capture, with the destination of the packets."""
        return self._recorder.order

    @property
    def over(self) -> bool:
        """True if capturing has ended and all packets were analyzed."""
        return self._recorder.over and bool(self._unreadable or not (self._capture.unread_bytes or self._work))

    @property
    def is_in_work(self) -> bool:
        """True if the last look left work to the next one."""
        return self._work is not None

    @property
    def ended(self) -> tuple[str, str]:
        """The reason why capturing ended, and a line of explanation, which may be empty.

        The reason is "" while capturing continues. The reasons are "stopped", "duration", "packets", "signal", "end" (the stream
        ended), "full" (the disk is full), "backend" (the capturing program failed) and "died" (the recorder ended).
        """
        return self._recorder.progress.ended or "", self._recorder.progress.text

    def stop(self) -> None:
        """End capturing. Call `look` until `over` is true, to analyze the remaining packets."""
        self._recorder.stop()

    def look(self, patience: float) -> News:
        """Wait up to `patience` seconds for packets, analyze the packets that arrived, and return new findings and notes.

        Raise RecorderError if capturing could not begin.
        """
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
            until = end if self._capture.unread_bytes else min(end, now + self._due_in())
            wait = 0.0 if self._capture.unread_bytes and now >= self._next else max(min(end, max(self._next, now)) - now, 0.0)
            self._process_events(self._recorder.events(wait if self._capture.unread_bytes else max(until - now, 0.0)), news)
            self._capture.extend(self._recorder.progress.bytes)
            now = time.monotonic()
            if self._unreadable:
                return
            if self._capture.unread_bytes and (now >= self._next or self._recorder.over):
                news.findings += self._analyse()
                self._watch_clock(news)
                break
            if not self._capture.unread_bytes and (self._work or not self._recorder.over):
                news.findings += self._pass_time()
            if now >= end or self._recorder.over or news.findings or self._work:
                break
        self._report_damage(news)

    def _process_events(self, events: list[Event], news: News) -> None:
        for event in events:
            kind = event["event"]
            if kind == "file":
                self._capture.add(int(event["descriptor"]), int(event["begin"]), int(event.get("packets", 0)))
            elif kind == "removed":
                self._remove(int(event["end"]), news)
            elif kind == "renamed":
                self._capture.rename(str(event["path"]))
            elif kind == "interface":
                news.notes.append(f"{event['name']} is {event['state']}")
            elif kind == "started":
                news.started = str(event["text"])
            elif kind == "note":
                news.notes.append(str(event["text"]))

    def _remove(self, end: int, news: News) -> None:
        """Handle the removal of the ring's oldest file, which ended at offset `end` of the stream.

        Unread data of removed files can still be read, but if the analysis lags behind by more than a complete ring, the oldest
        data is skipped.
        """
        ring = self._recorder.order.ring
        least = 0 if ring is None else end - ring.files * ring.bytes
        if least > self._capture.records.position:
            if not self._capture.records.drops.overwritten:
                news.notes.append("the analysis lags so far that the ring overwrites unread packets: see --ring and --filter")
            self._capture.skip(least)
        self._capture.close_before(end, self._analysis.needed_from())

    def _report_damage(self, news: News) -> None:
        """Report, once, that another process has changed or truncated the file."""
        damage = self._capture.records.damage
        if damage is not None and not self._damaged:
            self._damaged = True
            news.notes.append(f"the file was changed while it was written: {damage}; later packets are not analyzed")

    def _analyse(self) -> list[Finding]:
        """Analyze the next packets, and return the findings that became final; or do what the last look left."""
        begun = time.monotonic()
        if self._work is None and self._is_uncleaned and begun - self._cleaned > CLEANING:
            self._cleaned, self._is_uncleaned = begun, False
            found = self._proceed(self._clean())
        else:
            self._is_uncleaned = True
            found = self._proceed(self._work or self._decide(self._step, None))
        now = time.monotonic()
        self._worked += now - begun
        rest = min(max(TICK, self._worked / BUSY), LONGEST_TICK)
        if self._work is not None or self._held.is_behind:
            rest = min(rest, BREATH)
        else:
            self._worked = 0.0
        self._next = now + (0.0 if self._is_behind else rest)
        return found

    def _clean(self) -> Stages[list[Finding]]:
        self._analysis.forget(self._found_in)
        yield
        gc.collect()  # few objects are in reference cycles, but captures may run for days
        return []

    def _proceed(self, work: Stages[list[Finding]]) -> list[Finding]:
        """Do work, and return the findings if it ends. After quota.LOOK, the rest is left to the next look."""
        begun, self._work = cpu_time(), None
        try:
            next(work)
            while cpu_time() - begun < quota.LOOK:
                next(work)
        except StopIteration as done:
            return done.value
        self._work = work
        return []

    def _step(self) -> Candidates:
        """Analyze the next packets, and return the candidates."""
        begun, before = cpu_time(), self._capture.records.frame
        found = self._analysis.step(self._packets.size)
        self._packets.learn(self._capture.records.frame - before, begun)
        self._is_behind = bool(self._capture.unread_bytes)
        return found

    def _silent_until(self) -> int | None:
        """Return the time (ns since the first packet) up to which all packets have arrived.

        The recorder says up to when it has passed on packets: while it gets no processor time, silence shows nothing. Return None
        before the first packet, after damage in the capture, and for a stream. The clock and delay of a stream are unknown, so
        the capture time only advances with the packets of the stream.
        """
        is_known = self._capture.records.damage is None and self._recorder.order.stream is None
        first = self._capture.first_time if is_known else None
        late = LATE.get(self._recorder.progress.backend, 1.0)
        now = min(self._clock(), self._recorder.progress.delivered)
        return None if first is None else now - first - round(late * SECOND)

    def _due_in(self) -> float:
        """Return the seconds until a candidate may become final although no packet arrives; infinity if no candidate waits.

        When the time has come, ask the recorder whether it has passed on everything, and return infinity until it has.
        """
        if self._work is not None:
            return 0.0
        clock, deadline = self._silent_until(), self._deadline()
        if clock is None or deadline is None:
            return inf
        left = deadline - clock - max(self._clock() - self._recorder.progress.delivered, 0)
        if left <= 0 < deadline - clock:
            self._recorder.ask_delivered()
            clock = self._silent_until() or clock
            return inf if deadline > clock else 0.0
        return max(left, 0) / SECOND

    def _deadline(self) -> int | None:
        """Return the next time (ns since the first packet) at which a candidate may become final without a packet, or None."""
        times = [time for time in (self._analysis.deadline, self._held.due, self._pending.due) if time is not None]
        return min(times, default=None)

    def _watch_clock(self, news: News) -> None:
        """Add a note for each new step of the clock."""
        steps = self._analysis.steps
        for step in steps.first[self._steps :]:
            back = duration_text(step.time_before - step.time)
            news.notes.append(f"the clock was set back by {back} (frame {step.frame}): times across the step are not judged")
        self._steps = len(steps.first)

    def _pass_time(self) -> list[Finding]:
        """Advance the time if a decision is due although no packet arrived; return the findings that became final.

        What the last look left is decided first.
        """
        if self._work is not None:
            return self._proceed(self._work)
        clock, deadline = self._silent_until(), self._deadline()
        if clock is None or deadline is None or deadline > clock:
            return []
        return self._proceed(self._decide(lambda: self._analysis.pass_time(clock), clock))

    def _decide(self, find: Callable[[], Candidates], clock: int | None) -> Stages[list[Finding]]:
        """Find candidates, decide what is due, and return the findings that became final.

        `clock`: the time (ns) up to which no packet came, or None.
        """
        found, a = find(), self._analysis
        yield
        now, until = (a.clock, a.analyzed_until) if clock is None else (clock, clock)
        found = self._held.keep(rule_engine.decide_batch(self._modules, found, self._memory, live=True))
        found |= yield from self._held.take(now)
        self._keep_candidates(found, until)
        yield
        return (yield from self._pending.take_final())

    def _keep_candidates(self, found: Candidates, analyzed_until: int) -> None:
        self._pending.held_connections, self._pending.clock = self._held.connections, analyzed_until
        self._pending.held_causes = self._held.connections_of(self._pending.causes)
        if not found:
            return
        found = self._judge_times(found)
        self._analysis.found.append(found)
        for rows in found.values():
            self._found_in |= dict.fromkeys(rows["connection"].drop_nulls().unique().to_list())
        while len(self._found_in) > limits.FOUND_IN.value:
            del self._found_in[next(iter(self._found_in))]
        self._pending.add(found)

    def _judge_times(self, found: Candidates) -> Candidates:
        """Return the candidates without those across a step of the clock; later steps do not concern them."""
        steps = self._analysis.steps.frames
        found = rule_engine.unsure_across(found, self._modules, self._analysis.doubtful_frames)
        return rule_engine.drop_across_clock_steps(found, self._modules, sorted(steps)) if steps else found

    def status(self) -> Status:
        """Return the current state, with the packets that arrived while the last ones were analyzed."""
        a, c, progress = self._analysis, self._capture, self._recorder.progress
        self._recorder.refresh()
        c.extend(progress.bytes)
        lag = self._arrivals.lag(c.records.position, c.size, time.monotonic())
        if c.unread_bytes and c.first_time is not None and self._recorder.order.stream is None:
            lag = max(self._clock() - c.first_time - c.records.times.last, 0) / SECOND
        return Status(
            backend=progress.backend, captured=progress.packets, analysed=c.records.frame, dropped=progress.dropped,
            connections=a.core.flows.next_id, open=a.open_connections,
            exchanges=a.exchanges.rows, lag=lag, unread_bytes=c.unread_bytes,
            overwritten=sum(one.packets for one in c.records.drops.overwritten), waiting=self._pending.pending_count,
        )  # fmt: skip

    def report(self) -> Report:
        """Return the final report."""
        a = self._analysis
        while self._work is not None:  # the capture became unreadable; there may be candidates
            self._proceed(self._work)
        a.listeners = [self._pending.nearby.see]

        def judge(found: Candidates) -> Candidates:
            found = self._pending.without_reported(found)
            return self._held.keep(rule_engine.decide_batch(self._modules, found, self._memory, live=True))

        a.finish(lambda found: self._judge_times(judge(found)))
        a.found.append(self._judge_times(self._held.take_all()))
        done = diagnosis.diagnose(a, self._rules, judge, live=True)
        if restarts := self._recorder.progress.restarts:
            times = "once" if restarts == 1 else f"{restarts} times"
            done.limits.append(f"the capturing program ended unexpectedly {times}: packets may be missing until it was restarted")
        made = diagnosis.report([done], self._rules, secrets=self._secrets)
        made.resources.extend(self._resources)
        if self.order.file is not None and self.order.ring is None:
            descriptor = self._capture.first_descriptor
            if descriptor is not None:
                with suppress(CaptureError):
                    kept = open_descriptor(descriptor, self.order.file, OpenFiles(Budget()))
                    made.packets[done.summary.file] = SecondPass(
                        kept, done.connections.scan, rule_engine.cutoffs(self._modules), secrets=self._secrets
                    )
        made.incomplete += self._why_incomplete()
        return made

    def _why_incomplete(self) -> list[str]:
        """Return one sentence for each reason why the capture is incomplete."""
        reason, text = self.ended
        found = [f"The capture ended early: {text}."] if reason in ("full", "backend", "died", "signal") else []
        damage = self._unreadable or self._capture.records.damage
        if damage:
            found.append(f"The capture was read only in part: {damage}.")
        return found
