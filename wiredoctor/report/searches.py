"""What people type when they look for a fault: the words of error messages and complaints, by rule.

A rule's own page is searched too; here stands what it has no reason to say. Where several fit, the earlier is likelier.
"""

from __future__ import annotations

SEARCHES: dict[str, tuple[str, ...]] = {
    "nagle-delayed-ack": (
        *("nagle", "tcp nodelay", "TCP_NODELAY", "delayed ack", "40 ms", "44 ms", "200 ms", "100 ms", "40ms latency"),
        *("40 ms delay on every request", "slow keep-alive", "slow", "latency", "TcpAckFrequency", "UseNagleAlgorithm"),
        "first request fast later requests slow",
    ),
    "delayed-ack-stall": ("delayed ack", "40 ms", "200 ms", "slow upload", "slow", "SO_SNDBUF", "send buffer", "latency"),
    "retransmission-stall": (
        *("packet loss", "lost packets", "retransmission", "retransmit", "RTO", "timeout", "200 ms", "slow", "latency"),
        *("dropped packets", "TCP Retransmission", "TCP Dup ACK", "hangs"),
    ),
    "zero-window-stall": ("zero window", "TCP ZeroWindow", "TCP Window Full", "slow reader", "backpressure", "slow", "hangs"),
    "expect-continue-stall": (
        *("Expect: 100-continue", "100 continue", "Expect100Continue", "1 second delay", "slow POST", "slow upload", "slow"),
        "350 ms",
    ),
    "slow-response": (
        "slow",
        "slow server",
        "latency",
        "TTFB",
        "time to first byte",
        "waiting",
        "timeout",
        "504 gateway timeout",
    ),
    "connect-retry": ("SYN retransmission", "slow connect", "slow", "1 second connect", "3 second connect", "timeout"),
    "connect-failed": ("ECONNREFUSED", "connection refused", "connect timed out", "ETIMEDOUT", "502 bad gateway", "timeout"),
    "premature-close": (
        "The underlying connection was closed: A connection that was expected to be kept alive was closed by the server",
        *(
            "KeepAliveFailure",
            "connection was closed",
            "connection closed",
            "socket hang up",
            "ECONNRESET",
            "broken pipe",
            "EPIPE",
        ),
        *("server closed connection", "connection reset by peer", "NoHttpResponseException", "401 closes connection"),
    ),
    "keep-alive-race": (
        "The underlying connection was closed: A connection that was expected to be kept alive was closed by the server",
        *("connection was closed", "connection closed", "ECONNRESET", "socket hang up", "connection reset by peer"),
        *("Connection aborted", "RemoteDisconnected", "Remote end closed connection without response", "NoHttpResponseException"),
        *("failed to respond", "server closed idle connection", "stale connection", "stale pooled connection", "broken pipe"),
        *("EPIPE", "KeepAliveFailure", "upstream prematurely closed connection", "502 bad gateway", "EOF", "intermittent errors"),
        "ServerDisconnectedError",
    ),
    "idle-close": (
        *(
            "idle timeout",
            "keep-alive timeout",
            "keepalive_timeout",
            "connection was closed",
            "connection closed",
            "idle connection",
        ),
        *("502 bad gateway", "upstream prematurely closed connection", "KeepAliveFailure", "server closed idle connection"),
    ),
    "truncated-response": (
        *("ERR_CONTENT_LENGTH_MISMATCH", "ERR_INCOMPLETE_CHUNKED_ENCODING", "IncompleteRead", "ChunkedEncodingError"),
        *("transfer closed with outstanding read data remaining", "unexpected EOF", "unexpected end of file", "premature close"),
        *("Premature end of Content-Length delimited message body", "terminated", "aborted", "ECONNRESET", "curl 18", "cut off"),
        *("Response ended prematurely", "connection was closed", "connection closed", "partial file"),
    ),
    "no-response": (
        *("Empty reply from server", "curl 52", "ERR_EMPTY_RESPONSE", "ECONNRESET", "socket hang up", "connection reset by peer"),
        *("Remote end closed connection without response", "NoHttpResponseException", "502 bad gateway", "connection was closed"),
        *("connection closed", "RemoteDisconnected", "upstream prematurely closed connection", "crash"),
    ),
    "reset-destroys-response": ("ECONNRESET", "EPIPE", "broken pipe", "connection reset by peer", "413", "upload fails"),
    "auth-connection-closed": (
        "NTLM",
        "Negotiate",
        "Kerberos",
        "401",
        "407",
        "SSPI",
        "authentication loop",
        "connection was closed",
    ),
    "client-abort": (
        *(
            "499",
            "client closed request",
            "client disconnected",
            "broken pipe",
            "ClientAbortException",
            "timeout",
            "read timed out",
        ),
        *("canceled", "cancelled", "The operation has timed out", "ECONNABORTED", "ECONNRESET", "context deadline exceeded"),
    ),
    "lingering-close": ("hangs", "CLOSE_WAIT", "connection stays open", "slow"),
    "keep-alive-disabled": ("TIME_WAIT", "too many connections", "Connection: close", "slow"),
    "unchunked-streaming": (
        *(
            "streaming",
            "stream arrives at once",
            "buffered",
            "flush",
            "Response.Flush",
            "server-sent events",
            "SSE",
            "event stream",
        ),
        *("chunked", "proxy buffering", "arrives in one piece"),
    ),
    "missing-framing": (
        *("hangs", "never finishes", "waits until timeout", "Content-Length", "no content-length", "loading forever", "timeout"),
        *("spinner", "200 but hangs", "slow"),
    ),
    "close-delimited": ("no content-length", "Content-Length", "HTTP/1.0", "until the connection closes", "truncated download"),
    "tinygrams": ("small packets", "tiny packets", "silly window", "many small writes", "unbuffered writes", "slow"),
    "capture-loss": ("TCP ACKed unseen segment", "TCP Previous segment not captured", "dropped by kernel", "packets dropped"),
    "one-sided": ("one direction", "only requests", "only responses", "asymmetric routing", "SPAN port"),
    "offload": ("TSO", "GSO", "GRO", "LRO", "jumbo packets", "packets larger than MTU", "segment larger than MSS"),
    "encrypted": ("TLS", "SSL", "HTTPS", "decrypt", "port 443", "SSLKEYLOGFILE"),
    "damaged-file": ("cut short in the middle of a packet", "truncated capture", "capture file appears to be damaged or corrupt"),
}
