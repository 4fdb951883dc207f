"""The smallest HTTP client: which status does a path answer?"""

import asyncio

SECONDS = 3


async def http_status(host: str, port: int, path: str) -> int | None:
    """Return the status of ``GET path``, or None when nothing answers."""
    try:
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
                return int((await reader.readline()).split()[1])
            finally:
                writer.close()
    except (OSError, TimeoutError, IndexError, ValueError):
        return None
