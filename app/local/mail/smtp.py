"""The SMTP side of the mail catcher (RFC 5321)."""

import asyncio

from aiosmtpd.smtp import SMTP, Envelope, Session

from app.local.mail.store import MailStore

MAX_MAIL_BYTES = 32 * 2**20


class Keeper:
    """Keeps what arrives: accepted means kept."""

    def __init__(self, store: MailStore) -> None:
        self.store = store

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: ARG002, N802  # aiosmtpd's name
        """Answer the end of a mail's data."""
        content = envelope.content
        if not isinstance(content, bytes):
            return "554 The message has no content"
        try:
            self.store.add(content, list(envelope.rcpt_tos))
        except OSError as error:
            return f"452 The message cannot be kept: {error.strerror}"
        return "250 Kept"


async def listen(store: MailStore, host: str, port: int) -> asyncio.Server:
    """Accept mails for ``store``."""

    def session() -> SMTP:
        return SMTP(Keeper(store), data_size_limit=MAX_MAIL_BYTES, enable_SMTPUTF8=True, hostname="localhost", ident="Mail catcher")

    return await asyncio.get_running_loop().create_server(session, host, port)
