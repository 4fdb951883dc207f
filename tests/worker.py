"""What one test worker has to itself."""

import asyncio
from dataclasses import dataclass

from app.local.mail.store import Mail, read_mails
from app.local.servers import mail, postgres, s3

MAIL_SECONDS = 10
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class WorkerDatabase:
    """This worker's own database, and the roles to enter it with."""

    server: postgres.Postgres
    name: str

    @property
    def url(self) -> str:
        """The URL for the service's role, which cannot change the schema."""
        return self.server.url(postgres.APP, self.name)

    @property
    def owner_url(self) -> str:
        """The URL for the owner of the schema."""
        return self.server.url(postgres.OWNER, self.name)

    @property
    def superuser_url(self) -> str:
        """The URL for the cluster's superuser."""
        return self.server.url(postgres.SUPERUSER, self.name)


@dataclass(frozen=True, slots=True)
class WorkerBucket:
    """This worker's bucket in the store of the run."""

    store: s3.S3
    name: str


@dataclass(frozen=True, slots=True)
class Mailbox:
    """What this worker's mail catcher received."""

    catcher: mail.MailCatcher

    @property
    def received(self) -> list[Mail]:
        """The mails, newest first."""
        return read_mails(self.catcher.folder)

    async def wait_for(self, count: int = 1, seconds: float = MAIL_SECONDS) -> list[Mail]:
        """Return the mails once there are ``count`` of them."""
        async with asyncio.timeout(seconds):
            while len(mails := self.received) < count:  # noqa: ASYNC110  # another process writes them
                await asyncio.sleep(POLL_SECONDS)
        return mails
