"""Plain exchanges, read without an object per message: most of the traffic.

Plain is a request without a body in one packet, and a final response whose head lies in one packet and whose body has a
length, each behind the one before. The first exchange of a connection that is anything else, and all behind it in the
epoch, is left to the readers.
"""

from __future__ import annotations

import numpy as np

from wiredoctor.http import bodies, quick
from wiredoctor.http.conversation import Conversation
from wiredoctor.http.fields import Fields
from wiredoctor.http.framing import LENGTH
from wiredoctor.http.head import HeadParser, StatusLine
from wiredoctor.http.modes import BODY, HEAD
from wiredoctor.http.payload import FIRST_LOOK
from wiredoctor.http.plain_rows import Pairs, Plain, Run, plain_rows
from wiredoctor.http.templates import PlainRequest, RequestTemplates
from wiredoctor.http.walk import METHOD_STARTS, STATUS_START, Walk
from wiredoctor.tables import NEVER, SCRATCH, Array

SHORT_HEAD = 512
"""Bytes in which most response heads end: what is behind them is not fetched."""
UNFINISHED = 32
"""Packets in which the rest of an exchange of the epoch before is looked for."""


def read(walk: Walk, visited: list[tuple[Conversation, int]], templates: RequestTemplates) -> Plain | None:
    """Reads what is plain of the connections that got payload; what it read is done for `walk`, the rest is not."""
    flow = walk.flow
    heads = np.flatnonzero(flow.word == STATUS_START)
    templates.new_kinds()
    pairs = Pairs(templates.kinds)
    for conversation, group in visited:
        client = _asks(walk, conversation, group)
        if client >= 0 and _goes_on(walk, conversation, group, client):
            first, stop = walk.done[1 - client][group], flow.bounds[1 - client][group + 1]
            low, high = np.searchsorted(heads, (first, stop)).tolist()
            _look(walk, Run(conversation, group, client, len(pairs.request)), heads[low:high], pairs, templates)
    if not pairs.request:
        return None
    return plain_rows(walk, pairs)


def _asks(walk: Walk, conversation: Conversation, group: int) -> int:
    """The direction of the client of a connection of which something may be plain; -1 for any other."""
    flow, client = walk.flow, conversation.client
    bounds = [(flow.bounds[d][group], flow.bounds[d][group + 1]) for d in (0, 1)]
    if any(first == stop or flow.odd[d][group] for d, (first, stop) in enumerate(bounds)):
        return -1
    if client < 0:
        client = 0 if flow.word[bounds[1][0]] == STATUS_START else 1
        if int(flow.word[bounds[client][0]]) not in METHOD_STARTS:
            return -1
    for direction, reader in enumerate(conversation.readers):
        start, reached = int(flow.start[bounds[direction][0]]), reader.assembler.reached
        if reached is None:
            reached = walk.beginning(conversation, direction, bounds[direction][0], group)
        if reached not in (None, start) or reader.pos not in (NEVER, start):
            return -1
        unclear = reader.partial is not None or reader.seeking or reader.lost or reader.paused or reader.leftover is not None
        if unclear or reader.assembler.waiting or (reader.mode != HEAD and not (reader.mode == BODY and direction != client)):
            return -1
    return client


def _goes_on(walk: Walk, conversation: Conversation, group: int, client: int) -> bool:
    """Reads the rest of an exchange that the epoch before left open; whether nothing is open then."""
    flow, server = walk.flow, 1 - client
    first, stop = flow.bounds[server][group], flow.bounds[server][group + 1]
    reader, done = conversation.readers[server], 0
    if reader.mode == BODY or conversation.awaiting:
        if reader.message is not None and reader.message.framing != LENGTH:
            return False
        items = flow.items(first, min(first + UNFINISHED, stop))
        size = len(items.start)
        if reader.mode == BODY:
            done = bodies.sized(reader, items, 0, size, walk.read)
        if reader.mode == HEAD and conversation.awaiting and reader.kind is not None:
            done = quick.responses(reader, items, done, size, walk.read.file, conversation.parser)
        if done:
            reader.assembler.reached = items.end[done - 1]
    walk.done[client][group], walk.done[server][group] = flow.bounds[client][group], first + done
    conversation.say_finished()
    at_rest = all(exchange.request_done and exchange.response_done for exchange in conversation.open)
    return at_rest and reader.mode == HEAD and not conversation.awaiting and len(conversation.open) < 2


def _look(walk: Walk, run: Run, heads: Array, pairs: Pairs, templates: RequestTemplates) -> None:
    """Reads heads of both sides as long as they may be plain. `heads`: rows of the server that begin like a status line."""
    flow, server = walk.flow, 1 - run.client
    first, stop = walk.done[run.client][run.group], flow.bounds[run.client][run.group + 1]
    most = min(stop - first, len(heads))
    if not most or heads[0] != walk.done[server][run.group]:
        return
    asked = _requests(walk, slice(first, first + most), templates)
    answers = _responses(walk, heads[: len(asked)], templates.parser)
    found = len(answers)
    if not found:
        return
    pairs.asked.extend(asked[:found])
    pairs.answers.extend(answer for answer, _ in answers)
    pairs.head_bytes.extend(size for _, size in answers)
    pairs.request.extend(range(first, first + found))
    ends = [*heads[: found + 1].tolist(), flow.bounds[server][run.group + 1]]
    pairs.response.extend(ends[:found])
    pairs.behind.extend(ends[1 : found + 1])
    run.stop = len(pairs.request)
    pairs.runs.append(run)


def _requests(walk: Walk, rows: slice, templates: RequestTemplates) -> list[PlainRequest]:
    """Plain requests, up to the first row that is none."""
    flow, file, found = walk.flow, walk.read.file, list[PlainRequest]()
    sizes = flow.end[rows] - flow.start[rows]
    for at, size in zip(flow.at[rows].tolist(), sizes.tolist(), strict=True):
        request = templates.read(file[at : at + size]) if size <= FIRST_LOOK and at < SCRATCH else None
        if request is None:
            break
        found.append(request)
    return found


def _responses(walk: Walk, rows: Array, parser: HeadParser) -> list[tuple[tuple[StatusLine, Fields], int]]:
    """Responses and the bytes of their heads, up to the first row in which no head ends."""
    flow, file, known = walk.flow, walk.read.file, parser.known_response
    found: list[tuple[tuple[StatusLine, Fields], int]] = []
    sizes = flow.end[rows] - flow.start[rows]
    for at, size in zip(flow.at[rows].tolist(), sizes.tolist(), strict=True):
        data = file[at : at + (size if size < SHORT_HEAD else SHORT_HEAD)]
        head = data[: data.find(b"\r\n\r\n") + 4]
        if len(head) < 4 and size > SHORT_HEAD:
            data = file[at : at + min(size, FIRST_LOOK)]
            head = data[: data.find(b"\r\n\r\n") + 4]
        answer = known(head)
        if answer is None:
            # without its end it has but three bytes of a head
            answer = None if len(head) < 4 or b"\n\n" in head else parser.response(head)
            if answer is None or answer[1].malformed:
                break
        found.append((answer, len(head)))
    return found
