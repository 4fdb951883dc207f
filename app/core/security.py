"""Credentials: who a request speaks for."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(slots=True, frozen=True)
class Principal:
    """Whom an access token speaks for, as long as nothing revokes it.

    Attributes:
        user_id: The account.
        is_superuser: Whether the account may act on others.
        session_id: The session the token belongs to (claim ``sid``).
        expires_at: When the token ends, in seconds since the epoch.
    """

    user_id: int
    is_superuser: bool
    session_id: UUID
    expires_at: float
