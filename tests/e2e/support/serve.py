"""Serve S3 and SMTP to pods: ``python -m tests.e2e.support.serve FOLDER S3_PORT SMTP_PORT SECRET BUCKET``.

The servers of the local stack, which listen on loopback there, listen on every address here.
"""

import asyncio
import sys
from pathlib import Path

from app.local.mail.smtp import listen
from app.local.mail.store import MailStore
from app.local.servers import s3
from app.local.servers.ports import LOOPBACK

EVERYWHERE = "0.0.0.0"


async def serve(folder: Path, s3_port: int, smtp_port: int, secret: str, bucket: str) -> None:
    """Serve until the store ends; ``folder/ready`` appears when both answer."""
    others = iter(range(s3_port + 1, s3_port + s3.PORTS))
    store = s3.prepare(folder, [s3_port if listener == "s3.port" else next(others) for listener in s3.LISTENERS], secret)
    arguments = [argument.replace(f"-ip.bind={LOOPBACK}", f"-ip.bind={EVERYWHERE}") for argument in store.program.argv]
    async with await listen(MailStore(folder / "mail"), EVERYWHERE, smtp_port):
        process = await asyncio.create_subprocess_exec(*arguments, cwd=store.program.cwd)
        while not await store.answers():  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.2)
        await s3.create_bucket(store, bucket, ["*"])
        (folder / "ready").touch()
        raise SystemExit(await process.wait())


def main() -> None:
    """Read the command line."""
    folder, s3_port, smtp_port, secret, bucket = sys.argv[1:]
    asyncio.run(serve(Path(folder), int(s3_port), int(smtp_port), secret, bucket))


if __name__ == "__main__":
    main()
