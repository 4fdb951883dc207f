"""What the supervisor and the tests know of any embedded server."""

from typing import Protocol

from app.local.servers.program import Program


class Server(Protocol):
    """A server that was prepared: its files exist and its ports are chosen."""

    @property
    def program(self) -> Program:
        """How it is started."""
        ...

    async def answers(self) -> bool:
        """Tell whether it serves requests now."""
        ...
