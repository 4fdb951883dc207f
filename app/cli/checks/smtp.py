"""The mail server: reachable, encrypted as the settings say, and it takes our user."""

from typing import Final

import aiosmtplib

from app.cli.checks.result import Result
from app.core.config import Settings

PART: Final = "SMTP"
TIMEOUT_SECONDS: Final = 10.0


async def check_smtp(settings: Settings) -> list[Result]:
    """Sign in to the mail server and leave without sending."""
    if settings.SMTP_HOST is None:
        remedy = "Set SMTP_HOST; until then mails wait in the outbox."
        return [Result(PART, "configured", "warning", "no mail server", remedy)]
    password = settings.SMTP_PASSWORD
    client = aiosmtplib.SMTP(
        hostname=settings.SMTP_HOST,
        port=settings.SMTP_PORT,
        username=settings.SMTP_USER,
        password=password.get_secret_value() if password else None,
        use_tls=settings.SMTP_TLS == "tls",
        start_tls=settings.SMTP_TLS == "starttls",
        timeout=TIMEOUT_SECONDS,
    )
    try:
        async with client:
            await client.noop()
    except aiosmtplib.SMTPAuthenticationError as error:
        return [Result(PART, "sign-in", "failed", error.message, "Correct SMTP_USER and SMTP_PASSWORD.")]
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        remedy = "Start it, or correct SMTP_HOST, SMTP_PORT and SMTP_TLS (`tls` on 465, `starttls` on 587)."
        return [Result(PART, "reachable", "failed", f"{type(error).__name__}: {error}", remedy)]
    return [Result(PART, "sign-in", "ok", f"{settings.SMTP_HOST}:{settings.SMTP_PORT}, {settings.SMTP_TLS}")]
