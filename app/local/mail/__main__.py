"""Run the mail catcher: ``python -m app.local.mail FOLDER SMTP_PORT HTTP_PORT``."""

import asyncio
import sys
from pathlib import Path

import uvicorn

from app.local.mail.smtp import listen
from app.local.mail.store import MailStore
from app.local.mail.web import create_mailbox

HOST = "127.0.0.1"


async def serve(folder: Path, smtp_port: int, http_port: int) -> None:
    """Catch mails until a signal ends the process."""
    store = MailStore(folder)
    smtp = await listen(store, HOST, smtp_port)
    config = uvicorn.Config(
        create_mailbox(store), host=HOST, port=http_port, log_level="warning", lifespan="off", timeout_graceful_shutdown=2
    )
    async with smtp:
        await uvicorn.Server(config).serve()


def main() -> None:
    """Read the command line."""
    folder, smtp_port, http_port = sys.argv[1:]
    asyncio.run(serve(Path(folder), int(smtp_port), int(http_port)))


if __name__ == "__main__":
    main()
