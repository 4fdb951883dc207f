"""Mails, on the main queue."""

from app.core.resources import Resources
from app.services import email
from app.services.delivery import Message
from app.tasks.decorator import promised_task


@promised_task()
async def send_welcome_email(resources: Resources, message: Message) -> None:
    """Welcome a new user; payload ``{"user_id": int}``."""
    await email.send_welcome_email(resources, message)
