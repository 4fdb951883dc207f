"""Health on the wire."""

from typing import Literal

from app.schemas.base import Schema


class Health(Schema):
    """All is well; anything else is a problem."""

    status: Literal["ok"]


class Welcome(Schema):
    """What the root says."""

    message: Literal["API is running"]
