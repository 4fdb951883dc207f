"""What the live events' hub and the server's WebSocket protocol agree on."""

from typing import Final, Protocol

#: Where the ASGI scope's ``extensions`` hold the ``Connection``.
EXTENSION: Final = "app.connection"

_TEXT: Final = 0x81  # FIN and opcode 1
_SHORT: Final = 126
_LONG: Final = 2**16


class Connection(Protocol):
    """A peer that takes frames as they are, without a task or a queue of ours in between."""

    def push(self, frame: bytes) -> None:
        """Send a whole frame, or close the connection (1013) where the peer lags too far behind."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake; what was pushed before still arrives."""
        ...

    async def drained(self) -> None:
        """Wait until the peer keeps up again, or is gone."""
        ...


def text_frame(payload: bytes) -> bytes:
    """Return an unfragmented, unmasked text frame (RFC 6455, 5.2), the same bytes for every peer.

    Args:
        payload: UTF-8.
    """
    length = len(payload)
    if length < _SHORT:
        return bytes((_TEXT, length)) + payload
    if length < _LONG:
        return bytes((_TEXT, _SHORT)) + length.to_bytes(2) + payload
    return bytes((_TEXT, _SHORT + 1)) + length.to_bytes(8) + payload
