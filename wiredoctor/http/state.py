"""What is remembered of all conversations between epochs."""

from __future__ import annotations

from dataclasses import dataclass, field

from wiredoctor.http.annotate import LastData
from wiredoctor.http.bursts import BurstState
from wiredoctor.http.conversation import Conversation
from wiredoctor.http.effective_mss import PathState
from wiredoctor.http.head import HeadParser
from wiredoctor.http.spoken import Spoken
from wiredoctor.http.templates import RequestTemplates
from wiredoctor.limits import Met


@dataclass
class HttpState:
    """What is remembered between epochs. `keep_messages`, `keep_bursts`: whether these tables are wanted.

    `frame`: the newest of all.
    `stalled`: connections with bytes that wait for others; `ripening`: those of them for which time alone may do.
    """

    keep_messages: bool = False
    keep_bursts: bool = False
    templates: RequestTemplates = field(default_factory=lambda: RequestTemplates(HeadParser()))
    conversations: dict[int, Conversation] = field(default_factory=dict[int, Conversation])
    speaking: list[Conversation] = field(default_factory=list[Conversation])
    stalled: set[int] = field(default_factory=set[int])
    ripening: set[int] = field(default_factory=set[int])
    deadlines: dict[int, int] = field(default_factory=dict[int, int])
    last: LastData = field(default_factory=LastData)
    path: PathState = field(default_factory=PathState)
    bursts: BurstState = field(default_factory=BurstState)
    met: Met = field(default_factory=Met)
    frame: int = 0


def listen(conversation: Conversation, spoken: Spoken, state: HttpState) -> None:
    """What the connection says from now on goes to this epoch."""
    conversation.listen(spoken)
    state.speaking.append(conversation)
