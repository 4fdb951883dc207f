"""The tables. Importing this package registers every one of them on ``Base.metadata``."""

from app.models.base import Base
from app.models.idempotency import IdempotencyKey
from app.models.item import Item
from app.models.job import Job, Upload
from app.models.outbox import InboxMessage, OutboxMessage
from app.models.session import RefreshToken, Session
from app.models.user import User

__all__ = ["Base", "IdempotencyKey", "InboxMessage", "Item", "Job", "OutboxMessage", "RefreshToken", "Session", "Upload", "User"]
