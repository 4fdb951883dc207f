"""A task that does nothing, for what delivering it costs."""

from app.core.resources import Resources
from app.services.delivery import Message
from app.tasks.decorator import promised_task


@promised_task()
async def do_nothing(_resources: Resources, _message: Message) -> None:
    """Do nothing."""
