"""Faults as programmers make them, each in one place of the package."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

CORE = "wiredoctor/core/"


class Fault(NamedTuple):
    """A change of the sources. `breaks`: its effect. `near`: words in the node ids of the tests of the changed part."""

    file: str
    old: str
    new: str
    breaks: str
    near: str = ""

    @property
    def key(self) -> str:
        """A short name of what is changed."""
        return sha256("\0".join(self[:3]).encode()).hexdigest()[:8]

    @property
    def core(self) -> str:
        """How the core runs with this fault: a changed core is interpreted, which takes less time than its compilation."""
        return "python" if self.file.startswith(CORE) else "compiled"

    def apply(self, text: str) -> str:
        """Return the text of the file with the fault. Raise ValueError unless the place exists once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file}: {text.count(self.old)} places with {self.old!r}")
        return text.replace(self.old, self.new)

    def __str__(self) -> str:
        return f"{self.file.removeprefix('wiredoctor/').removesuffix('.py')}: {self.breaks}"


FAULTS = (
    Fault(
        "wiredoctor/world/server.py",
        "time <= own.start + STRAGGLERS",
        "time < own.start + STRAGGLERS",
        "a close exactly STRAGGLERS after the first one is of no moment",
        "servers rests at_limit idle_close",
    ),
    Fault(
        "wiredoctor/world/server.py",
        "max(end.rest or 0, end.waited or 0)",
        "min(end.rest or 0, end.waited or 0)",
        "a connection that was closed later is not closed together with others",
        "servers rests at_limit no_response",
    ),
    Fault(
        "wiredoctor/world/clients.py",
        '.over("client", "agent", "forwarded")',
        '.over("client", "forwarded")',
        "a longer wait of another program hides the wait of a client",
        "clients client_abort",
    ),
    Fault(
        "wiredoctor/core/tcp/acks.py",
        "own.widest_window = max(own.widest_window, packet.window)",
        "own.widest_window = min(own.widest_window, packet.window)",
        "the largest window becomes the smallest",
        "windows zero_window limited_transfer",
    ),
    Fault(
        "wiredoctor/core/tcp/delivery.py",
        "own.reached < own.highest - 1",
        "own.reached <= own.highest - 1",
        "a gap of one byte is filled",
        "delivery capture_loss probes",
    ),
    Fault(
        "wiredoctor/core/tcp/delivery.py",
        "if gap.end <= ack:",
        "if gap.end < ack:",
        "a gap that an ACK covers exactly stays open",
        "delivery capture_loss test_gaps holes",
    ),
    Fault(
        "wiredoctor/core/tcp/releases.py",
        "peer.short_window_frame >= ack.ack_frame",
        "peer.short_window_frame > ack.ack_frame",
        "an ACK that itself announces a small window releases a segment",
        "releases stall_rows nagle_delayed_ack window",
    ),
    Fault(
        "wiredoctor/core/tcp/retransmission_stalls.py",
        "elif stall.retransmission_bytes <= segment.mss:",
        "elif stall.retransmission_bytes < segment.mss:",
        "a full retransmission does not count as lost bytes",
        "retransmission_stall recovery",
    ),
    Fault(
        "wiredoctor/core/http1/pairing.py",
        "asked.request.ack < message.ack",
        "asked.request.ack <= message.ack",
        "a response is paired with a later request",
        "pairing pipelining",
    ),
    Fault(
        "wiredoctor/core/http1/endings.py",
        "grace = max(grace, LATE_RESPONSE)",
        "grace = min(grace, LATE_RESPONSE)",
        "a late response is not waited for",
        "endings lifecycle no_response truncated_response foreign_reset origins",
    ),
    Fault(
        "wiredoctor/core/http1/endings.py",
        "gap = min(first, second)",
        "gap = max(first, second)",
        "the later of two gaps is skipped first",
        "holes gaps endings test_http1 pairing_with_gaps",
    ),
    Fault(
        "wiredoctor/core/http1/stream.py",
        "if self.pieces[middle].end <= offset:",
        "if self.pieces[middle].end < offset:",
        "a piece that ends at an offset counts as after it",
        "holes stream reassembly gaps",
    ),
    Fault(
        "wiredoctor/core/tcp/unacknowledged.py",
        "if repetition.copies < self.cutoffs.min_copies and",
        "if repetition.copies <= self.cutoffs.min_copies and",
        "data that was sent again just often enough has no row",
        "unacknowledged unanswered",
    ),
    Fault(
        "wiredoctor/core/tcp/closes.py",
        "own.rst_frame > peer.rst_frame",
        "own.rst_frame < peer.rst_frame",
        "of two RSTs the second side closed first",
        "closes close_origin lifecycle",
    ),
    Fault(
        "wiredoctor/core/tcp/window_stalls.py",
        "peer.highest - own.acknowledged <= 1",
        "peer.highest - own.acknowledged < 1",
        "a probe of one byte counts as data that a closed window refused",
        "window_stalls zero_window closures",
    ),
    Fault(
        "wiredoctor/core/http1/heads.py",
        "kind < self.id_rank",
        "kind <= self.id_rank",
        "the last of several request ids wins",
        "request_ids heads",
    ),
    Fault(
        "wiredoctor/core/capture/packet_headers.py",
        "+ 2) * 4",
        "+ 1) * 4",
        "an authentication header is 4 bytes too short",
        "packet_headers decode headers",
    ),
    Fault(
        "wiredoctor/core/capture/records.py",
        "if captured < length and captured > self.snap_length:",
        "if captured > self.snap_length:",
        "the longest packet counts as cut off",
        "test_recognition test_records snap_length",
    ),
    Fault(
        "wiredoctor/rules/capture/one_sided.py",
        'c("end") > c("last_time") - SLICE.value',
        'c("end") < c("last_time") - SLICE.value',
        "connections at the end of the capture count as one-sided",
        "one_sided capture_rules",
    ),
    Fault(
        "wiredoctor/rules/capture/capture_loss.py",
        'lost = lost & (c("client_packets") > 0) & (c("server_packets") > 0)',
        'lost = lost & (c("client_packets") > 0)',
        "losses of one-sided connections count",
        "capture_loss capture_rules one_sided",
    ),
    Fault(
        "wiredoctor/rules/framing/missing_framing.py",
        '(c("waited") >= WAITING.value) & ~streams()',
        '(c("waited") > WAITING.value) & ~streams()',
        "a wait of exactly the threshold counts as closed",
        "missing_framing",
    ),
    Fault(
        "wiredoctor/rules/framing/close_delimited.py",
        'c("response_status") >= 400',
        'c("response_status") > 400',
        "a 400 is no error response",
        "close_delimited",
    ),
    Fault(
        "wiredoctor/rules/shared/failed_at_gateways.py",
        '(c("response_status") >= 500) | (c("response_status") == REQUEST_TIMEOUT)',
        '(c("response_status") > 500) | (c("response_status") == REQUEST_TIMEOUT)',
        "a 500 of a gateway is no error",
        "gateway_error",
    ),
    Fault(
        "wiredoctor/rules/gateways/websocket_failed.py",
        "refused = refused.filter(~busy.fill_null(value=False))",
        "refused = refused.filter(~busy)",
        "refusals with unknown kind are dropped",
        "websocket_failed",
    ),
    Fault(
        "wiredoctor/rules/lifetime/idle_cut.py",
        "self.rests.setdefault(side, []).append(rest)",
        'self.rests.setdefault("server", []).append(rest)',
        "idle times of the other side count",
        "idle_cut",
    ),
    Fault(
        "wiredoctor/rules/lifetime/idle_timeout_broken_promise.py",
        "another = most.is_null() | (most > 0)",
        "another = most > 0",
        "without max no promise is broken",
        "idle_timeout_broken_promise",
    ),
    Fault(
        "wiredoctor/rules/lifetime/keep_alive_race.py",
        'end = pl.max_horizontal("request_end", "server_close_time")',
        'end = pl.min_horizontal("request_end", "server_close_time")',
        "the finding ends too early",
        "keep_alive_race",
    ),
    Fault(
        "wiredoctor/rules/lifetime/lingering_close.py",
        'c("client_close_time") - c("over") - _client_round_trip() > LINGERS.value',
        'c("client_close_time") - c("over") > LINGERS.value',
        "the way to a client counts as time in which the server kept the connection",
        "lingering_close",
    ),
    Fault(
        "wiredoctor/rules/lifetime/no_response.py",
        'c("request_offset") >= _PROXY_HEADER',
        'c("request_offset") > _PROXY_HEADER',
        "the shortest PROXY header is not recognized",
        "no_response test_unanswered",
    ),
    Fault(
        "wiredoctor/rules/lifetime/premature_close.py",
        '(c("server_close_time") >= c("response_start")) & c("last_on_connection")',
        '(c("server_close_time") > c("response_start")) & c("last_on_connection")',
        "a close with the response is not premature",
        "premature_close",
    ),
    Fault(
        "wiredoctor/rules/lifetime/reset_destroys_response.py",
        'c("server_rst_time") - pl.max_horizontal("response_end", c("server_close_time").fill_null(0))',
        'c("server_rst_time") - c("response_end")',
        "the gap before an RST counts from the response, not from the FIN",
        "reset_destroys_response",
    ),
    Fault(
        "wiredoctor/rules/lifetime/truncated_response.py",
        'captured = ~c("response_has_gap") & ',
        "captured = ",
        "a chunked response with a gap in the capture counts as truncated",
        "truncated_response test_unanswered capture_loss",
    ),
    Fault(
        "wiredoctor/rules/round_trips/no_connection_reuse.py",
        'all_received = c("received").cum_max().over("program").shift(1)',
        'all_received = c("received").cum_max().shift(1)',
        "responses of other programs hold back a run",
        "no_connection_reuse pools",
    ),
    Fault(
        "wiredoctor/rules/round_trips/redirect_loop.py",
        'c("next_start") - c("response_start") < FOLLOWED.value',
        'c("next_start") - c("request_start") < FOLLOWED.value',
        "a redirect is followed too late if the response was slow",
        "redirect_loop",
    ),
    Fault(
        "wiredoctor/rules/stalls/connect_retry.py",
        'c("first_answer_time") >= c("second_syn_time") - c("data_rtt").fill_null(0)',
        'c("first_answer_time") >= c("second_syn_time")',
        "an answer that crosses the second SYN counts as one to the first",
        "connect_retry connects",
    ),
    Fault(
        "wiredoctor/extract/minimize.py",
        "first = min((bisect_left",
        "first = max((bisect_left",
        "packets before the last evidence are cut off",
        "extract minimize",
    ),
    Fault(
        "wiredoctor/rules/stalls/slow_response.py",
        'begin = pl.max_horizontal("request_end", "previous_end", "heard")',
        'begin = pl.max_horizontal("request_end", "heard")',
        "a pipelined response is waited for since its request",
        "slow_response",
    ),
    Fault(
        "wiredoctor/rules/stalls/expect_continue_stall.py",
        'slow_source = 2 * (c("request_body_pause") - round_trip) >= wait',
        'slow_source = 2 * c("request_body_pause") >= wait',
        "a body over a long way looks like a slow source",
        "expect_continue expect_continue_stall",
    ),
    Fault(
        "wiredoctor/rules/stalls/zero_window_stall.py",
        'c("unanswered_probes") >= UNANSWERED.value',
        'c("unanswered_probes") > UNANSWERED.value',
        "a receiver that answers no probe is gone one probe later",
        "zero_window_stall",
    ),
    Fault(
        "wiredoctor/rules/streaming/late_flush.py",
        'on=["client_host", "second"]',
        'on=["second"]',
        "requests of other clients follow a page",
        "late_flush",
    ),
    Fault(
        "wiredoctor/rules/shared/delayed_acks.py",
        '(c("previous_ack_interval") >= shortest).fill_null(True)',
        '(c("previous_ack_interval") >= shortest).fill_null(False)',
        "the first ACK of a connection is not a lone one",
        "delayed_ack_stall nagle_delayed_ack",
    ),
    Fault(
        "wiredoctor/world/neighbors.py",
        "return min(self._first(begin, middle), self._first(middle + 1, end)) <= due",
        "return min(self._first(begin, middle), self._first(middle, end)) <= due",
        "an attempt is its own neighbor",
        "neighbors unanswered",
    ),
    Fault(
        "wiredoctor/world/process_stops.py",
        "rests[-1] - rests[0] > SPREAD and 2 * rests[0] < rests[-1]",
        "rests[-1] - rests[0] > SPREAD",
        "similar idle times look like the end of a process",
        "process_stops at_limit idle_close",
    ),
    Fault(
        "wiredoctor/rules/shared/left_early.py",
        'read = c("client_close_time") - c("response_end") - c("rtt_client").fill_null(0)',
        'read = c("client_close_time") - c("response_end")',
        "the way to the client counts as reading",
        "left_early client_abort round_trips",
    ),
    Fault(
        "wiredoctor/gateways/edges.py",
        "(r.began[b] > r.began[f] + SLACK) & stayed)",
        "(r.began[b] > r.began[f] + SLACK))",
        "a client that left counts as one that got its response",
        "gateway gateways edges pairs gateway_error",
    ),
    Fault(
        "wiredoctor/gateways/pairs.py",
        "over[front[place]] < start[b] - SLACK",
        "over[front[place]] < start[b]",
        "clock differences within SLACK spoil pairs in a crowd",
        "pairs gateways crowd gateway_error",
    ),
    Fault(
        "wiredoctor/gateways/exchange_columns.py",
        'c("request_start").shift(-1).over("connection").alias("after")',
        'c("request_start").shift(-1).alias("after")',
        "the next request of another connection counts",
        "gateways exchange_columns columns gateway_error",
    ),
    Fault(
        "wiredoctor/rule_engine/root_cause.py",
        'pl.col("end").cum_max().over("connection").alias("latest")',
        'pl.col("end").cum_max().alias("latest")',
        "causes on other connections explain",
        "root_cause settle telling causes gateway_error",
    ),
    Fault(
        "wiredoctor/rule_engine/root_cause.py",
        "allow_exact_matches=False",
        "allow_exact_matches=True",
        "a cause that begins as a candidate ends explains it",
        "root_cause settle telling causes gateway_error",
    ),
    Fault(
        "wiredoctor/rule_engine/unjudged.py",
        'c("exchange").fill_null(-1).cast(pl.Int64)',
        'c("exchange").cast(pl.Int64)',
        "findings about a connection do not cover all of its exchanges",
        "unjudged",
    ),
    Fault(
        "wiredoctor/rule_engine/software.py",
        "pl.col(field).n_unique() > 1",
        "pl.col(field).n_unique() > 2",
        "two programs on a host count as one",
        "software",
    ),
    Fault(
        "wiredoctor/engine/live.py",
        "alarm = min(self.core.http.alarms.next, tcp.repetitions.due(), tcp.releases.due, held)",
        "alarm = min(self.core.http.alarms.next, tcp.repetitions.due(), held)",
        "live, held-back segments are decided late",
        "live played",
    ),
    Fault(
        "wiredoctor/report/exchange_times.py",
        'return pl.max_horizontal("request_start", "request_end", "response_end")',
        'return pl.max_horizontal("request_start", "request_end")',
        "the last byte is that of the request",
        "exchange_times exchanges server_statistics",
    ),
    Fault(
        "wiredoctor/report/html/data.py",
        'pl.col("newest_answer_time") >= pl.col("syn_time")',
        'pl.col("newest_answer_time") > pl.col("syn_time")',
        "a connection that is answered at once has no connect time on the page",
        "html",
    ),
    Fault(
        "wiredoctor/report/data/har_entries.py",
        'first = max(end, row["response_start"])',
        'first = row["response_start"]',
        "an early response has a negative wait in HAR",
        "test_har",
    ),
    Fault(
        "wiredoctor/report/headline.py",
        'head + (f", {caused:,} of them" if caused < number else "")',
        'head + (f", {caused:,} of them" if caused <= number else "")',
        "the headline counts all as some of them",
        "headline",
    ),
    Fault(
        "wiredoctor/live/gateway_groups.py",
        "group.end + SLACK >= until.read",
        "group.end >= until.read",
        "a group is final before late packets of it",
        "gateway_groups live gateways",
    ),
    Fault(
        "wiredoctor/live/finality.py",
        "return one.last < (progress.unknown",
        "return one.last <= (progress.unknown",
        "a candidate is final although the connection may still change it",
        "finality live played",
    ),
    Fault(
        "wiredoctor/compare/two_points/losses.py",
        "came = self.far.first_with(group, end - 1)",
        "came = self.far.first_with(group, end)",
        "the last byte of a packet is looked for one byte too far",
        "two_points losses compare",
    ),
    Fault(
        "wiredoctor/access_log/matching.py",
        "self._longest = max(self._longest, one.end - one.start)",
        "self._longest = one.end - one.start",
        "long exchanges are not found by their log lines",
        "access_log matching explain_log",
    ),
)
