"""The route class of every router: what happens around a handler whichever way it is run."""

from collections.abc import Callable, Coroutine
from typing import Any, override

from fastapi import params
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from app.core.http import idempotency
from app.core.http.body import StrictRequest, require_media_type

JSON: tuple[str, ...] = ("application/json",)
JSON_PATCH: tuple[str, ...] = ("application/json", "application/merge-patch+json")
FORM: tuple[str, ...] = ("application/x-www-form-urlencoded", "multipart/form-data")


class Route(APIRoute):
    """FastAPI's route with strict JSON, strict content types and idempotency keys."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        accepted = self.accepted_media_types

        async def handle(request: Request) -> Response:
            if accepted:
                require_media_type(request, *accepted)
            strict = StrictRequest(request.scope, request.receive)
            return await idempotency.answering(strict, handler)

        return handle

    @property
    def accepted_media_types(self) -> tuple[str, ...]:
        """Content types of the body, empty for a route that reads none or reads it by itself."""
        if self.body_field is None:
            return ()
        if isinstance(self.body_field.field_info, params.File):
            return ("multipart/form-data",)
        if isinstance(self.body_field.field_info, params.Form):
            return FORM
        return JSON_PATCH if "PATCH" in (self.methods or ()) else JSON
