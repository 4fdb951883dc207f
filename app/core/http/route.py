"""The route class of every router: what happens around a handler whichever way it is run."""

from collections.abc import Callable, Coroutine
from typing import Any, Final, override

from fastapi import params
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from app.core.http import idempotency
from app.core.http.body import StrictRequest, require_media_type

JSON: Final = "application/json"
FORM: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


class Route(APIRoute):
    """FastAPI's route with strict JSON, strict content types and idempotency keys."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        accepted = self.accepted_media_types
        takes_key = idempotency.takes_key(self.dependant)

        async def handle(request: Request) -> Response:
            if accepted:
                require_media_type(request, *accepted)
            strict = StrictRequest(request.scope, request.receive)
            return await idempotency.answering(strict, handler) if takes_key else await handler(strict)

        return handle

    @property
    def accepted_media_types(self) -> tuple[str, ...]:
        """Content types of the body, empty for a route that reads none or reads it by itself."""
        if self.body_field is None:
            return ()
        info = self.body_field.field_info
        if isinstance(info, params.File):
            return FORM[1:]
        if isinstance(info, params.Form):
            return FORM
        declared: str = getattr(info, "media_type", JSON)
        return (JSON,) if declared == JSON else (JSON, declared)
