"""Free TCP ports on the loopback interface."""

import errno
import random
import socket
from itertools import islice

LOOPBACK = "127.0.0.1"
CHOICE = range(20_000, 32_000)
CANDIDATES = 500


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Tell whether a server could listen on ``port`` now."""
    with socket.socket() as probe:
        # A port whose last connections linger in TIME_WAIT is free for a server that reuses addresses, as all of ours do.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return ``count`` different free ports.

    They are chosen below the range from which systems take the local ports of outgoing connections (RFC 6335 begins it at
    49152, Linux at 32768): one of those may be taken between the look and the server's start, or while it is restarted.

    Raises:
        OSError: if so many are not to be had.
    """
    candidates = random.sample(CHOICE, CANDIDATES)
    found = list(islice((port for port in candidates if is_free(port)), count))
    if len(found) < count:
        raise OSError(errno.EADDRINUSE, f"no {count} free ports between {CHOICE.start} and {CHOICE.stop}")
    return found


def free_port() -> int:
    """Return a free port."""
    return free_ports(1)[0]
