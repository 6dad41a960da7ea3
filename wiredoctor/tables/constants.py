"""Constants of the tables: units, control bits, roles, message ids, and sentinels for "no value"."""

from __future__ import annotations

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80
"""The control bits of the TCP header (RFC 9293 section 3.1)."""

MESSAGE_BITS = 26
"""The number of low bits of a message id that hold the index of the message and its direction.

The id is connection << MESSAGE_BITS | index in its direction << 1 | direction. It is unique, ascending within each direction, and
independent of where batches end. After 33 million messages, the index of a direction restarts at 0.
"""

SECOND = 1_000_000_000
MILLISECOND = 1_000_000
"""The number of nanoseconds in a millisecond."""

CLIENT, SERVER = 0, 1
"""The roles of the two sides of a connection. A side's role is NONE (unknown) if only ports and the order of packets suggest
it."""

NONE = -1
"""The sentinel for "no value" in integer columns of less than 64 bits."""

NOT_CAPTURED = -2
"""The sentinel for an option that the snap length may have cut off."""

NEVER = -(1 << 62)
"""The sentinel for "no value" in 64-bit columns (times, offsets, frames, ids), where -1 is a valid time and a valid offset."""

BEFORE, NOTHING, PART_OF_HEAD, HEAD, ALL_BUT_A_BYTE, WHOLE, MORE = range(7)
"""How much of a message had arrived: only bytes before it; nothing of it; a part of its header section; all of that, and
perhaps a part of its body; all but the last byte, which may be a probe of a closed window; all of it; and bytes after it.
"""

PART_OF_DATA, ALL_DATA, WITH_FIN = range(3)
"""How much had arrived of what a side sent until its FIN."""

NO_EVENT, DONE_EVENT, MARKED_EVENT, ERROR_EVENT, MAYBE_ERROR_EVENT, REPEATED_EVENT, OTHER_EVENT = range(7)
"""What the last event of a stream is: there is none with data; [DONE]; another one with which an API ends its answers; one that
says that it is an error; one with a member `error`, which may be a result; one with the shape of an earlier one; any other.
"""

UNANSWERED_PROBES = 2
"""The minimum number of probes without an answer that show that the other side, or the path, was gone; one may have been lost."""
