"""The mail catcher, a program of our own."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from app.local.servers.ports import LOOPBACK
from app.local.servers.program import Program

REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class MailCatcher:
    """A mail server that delivers nothing and keeps everything."""

    program: Program
    folder: Path
    smtp_port: int
    http_port: int
    host: str = LOOPBACK

    @property
    def url(self) -> str:
        """Where its mailbox is shown."""
        return f"http://{self.host}:{self.http_port}"

    async def answers(self) -> bool:
        """Tell whether it takes mails and shows them."""
        try:
            for port in (self.smtp_port, self.http_port):
                _, writer = await asyncio.open_connection(self.host, port)
                writer.close()
        except OSError:
            return False
        return True


def prepare(folder: Path, smtp_port: int, http_port: int) -> MailCatcher:
    """Say how to start the catcher that keeps its mails in ``folder/mail``."""
    data = folder / "mail"
    program = Program(
        name="mail",
        argv=(sys.executable, "-m", "app.local.mail", str(data), str(smtp_port), str(http_port)),
        cwd=REPOSITORY,
        stop_seconds=5,
    )
    return MailCatcher(program=program, folder=data, smtp_port=smtp_port, http_port=http_port)
