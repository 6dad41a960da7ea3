"""Read HTTP/1.x in one direction: turn ranges of the stream into messages (RFC 9112).

message_heads.py begins a message from its header section, whose framing determines where the body ends (`frame_body`). bodies.py
skips bodies, and chunks.py reads the lines between chunks. message_ends.py ends the message, complete or not (`finish`). After a
gap in a header section or in chunk framing, `Reader.seek` checks whether a packet begins with a header section.
"""

from __future__ import annotations

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.http1 import bodies, chunks, message_heads, recognition
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.message import BODY, CHUNK_END, CHUNK_SIZE, CLOSE, COMPLETE, HEAD, REQUEST, SEEK, TLS, Message
from wiredoctor.core.http1.message_ends import finish
from wiredoctor.core.http1.reader import Reader
from wiredoctor.core.http1.stream import Range


@mypyc_attr(acyclic=True)
class Http1Reader(Reader):
    """Reads the HTTP/1.x messages of one direction of a conversation."""

    def __init__(self, owner: Conversation, direction: i64) -> None:
        super().__init__(direction)
        self.owner: Conversation = owner

    def take(self, found: Range) -> None:
        """Read a range up to its end, or until the reader has to wait for the peer."""
        conversation = self.owner
        self.beyond = found.wire_end - found.end
        if self.pos < found.start:
            self.pos = found.start
        while self.pos < found.end and not self.waits:
            message = self.message
            if message is not None and self.pos == message.head_end and leaves_out_body(conversation, self, message, found):
                finish(conversation, self, COMPLETE)
            mode = self.mode
            if mode in (BODY, CLOSE):
                bodies.read_body(conversation, self, found)
            elif mode == HEAD:
                message_heads.read_head(conversation, self, found)
            elif mode in (CHUNK_SIZE, CHUNK_END):
                chunks.read_chunk_line(conversation, self, found)
            elif mode == SEEK:
                if not recognition.begins_after_proxy_header(conversation, self, found):
                    self.seek(found)
            elif mode == TLS:
                recognition.continue_tls(conversation, self, found)
            else:
                self.pos = found.end


def leaves_out_body(conversation: Conversation, reader: Reader, message: Message, found: Range) -> bool:
    """Return whether the client sends its next request instead of the body of the current request.

    A client that waits for 100 (Continue) may leave out the body after a final response (RFC 9110 section 10.1.1).
    """
    exchange = reader.exchange
    if reader.kind != REQUEST or found.at < 0 or exchange is None or not exchange.response_done:
        return False
    response = exchange.response
    if response is None or found.ack < response.end_offset or not message.head.fields.expect_continue:
        return False
    head = conversation.http.heads.read_request(found.block, found.place(reader.pos), found.place(found.end))
    return head is not None and head.has_known_method
