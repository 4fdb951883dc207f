"""The errors the service answers with: one class each, RFC 9457 on the wire.

A class owns its status, its type's slug and its title; an instance carries what happened this time.
``app.core.http.problems`` renders them, the docs and the OpenAPI document list them.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypedDict


class FieldError(TypedDict):
    """One fault of a request: where (a JSON pointer, RFC 6901; ``/<name>`` for a parameter) and what."""

    pointer: str
    detail: str


class Problem(Exception):  # noqa: N818  # RFC 9457 calls it a problem
    """Base of every error that reaches a client.

    Args:
        detail: What happened and what to change, for a person to read.
        errors: Faults of single fields.
        headers: Response headers that belong to the error, such as ``Retry-After``.
        extra: Further members of the problem object (RFC 9457, 3.2).
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal server error"
    description: ClassVar[str] = "Something failed on our side. Nothing of the request was kept; it is safe to repeat it."
    #: Response headers that every instance carries.
    own_headers: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        self.detail = detail or self.description
        self.errors = list(errors)
        self.headers = {**self.own_headers, **(headers or {})}
        self.extra = dict(extra or {})
        super().__init__(self.detail)


class InternalError(Problem):
    """500: an error nobody foresaw."""


class MalformedRequest(Problem):
    """400: the bytes are not what they claim to be."""

    status = 400
    slug = "malformed-request"
    title = "Malformed request"
    description = "The request could not be read: its body is not JSON or its encoding is broken."


class InvalidHost(Problem):
    """400: the Host header names nobody here."""

    status = 400
    slug = "invalid-host"
    title = "Invalid host"
    description = "The Host header is not one of the names this service answers to."


class Unauthorized(Problem):
    """401: no credential, or one that does not hold (RFC 6750)."""

    status = 401
    slug = "unauthorized"
    title = "Authentication required"
    description = "Send a valid access token as `Authorization: Bearer <token>`."
    own_headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}


class Forbidden(Problem):
    """403: known, but not allowed."""

    status = 403
    slug = "forbidden"
    title = "Not allowed"
    description = "You are signed in, but this needs a right that you do not have."


class NotFound(Problem):
    """404: no such thing, or not yours to know about."""

    status = 404
    slug = "not-found"
    title = "Not found"
    description = "Nothing is here, or it is not yours."


class MethodNotAllowed(Problem):
    """405: the path exists, the method does not."""

    status = 405
    slug = "method-not-allowed"
    title = "Method not allowed"
    description = "This path does not take this method; `Allow` lists those it takes."


class RequestTimeout(Problem):
    """408: the head of the request did not come in time (RFC 9110, 15.5.9)."""

    status = 408
    slug = "request-timeout"
    title = "Request timeout"
    description = "The request's headers did not arrive within 10 seconds."


class Conflict(Problem):
    """409: the request contradicts what is stored."""

    status = 409
    slug = "conflict"
    title = "Conflict"
    description = "The request contradicts the present state."


class PreconditionFailed(Problem):
    """412: somebody else changed it first (RFC 9110, 13.1.1)."""

    status = 412
    slug = "precondition-failed"
    title = "Precondition failed"
    description = "The resource changed since you read it. Read it again and repeat the change on the new version."


class PayloadTooLarge(Problem):
    """413: the body is over the limit."""

    status = 413
    slug = "payload-too-large"
    title = "Payload too large"
    description = "The body is larger than this route accepts."


class UriTooLong(Problem):
    """414: the request target is over the limit."""

    status = 414
    slug = "uri-too-long"
    title = "URI too long"
    description = "The URL is longer than 8 KiB."


class UnsupportedMediaType(Problem):
    """415: the body's type is not one the route reads."""

    status = 415
    slug = "unsupported-media-type"
    title = "Unsupported media type"
    description = "Send the body in a content type that the route documents."


class ValidationFailed(Problem):
    """422: readable, but against the rules; ``errors`` says where."""

    status = 422
    slug = "validation-failed"
    title = "Validation failed"
    description = "The request is well-formed, but a value breaks a rule; `errors` lists each."


class IdempotencyKeyReused(Problem):
    """422: the key belongs to another request."""

    status = 422
    slug = "idempotency-key-reused"
    title = "Idempotency key reused"
    description = "This Idempotency-Key was used with another body. Send a new key with a new request."


class IdempotencyInProgress(Problem):
    """409: the first request with this key has not been answered yet."""

    status = 409
    slug = "idempotency-in-progress"
    title = "Request in progress"
    description = "A request with this Idempotency-Key is being worked on. Repeat it in a moment."


class TooManyRequests(Problem):
    """429: over a rate limit (RFC 6585, 4)."""

    status = 429
    slug = "too-many-requests"
    title = "Too many requests"
    description = "You are over a rate limit; `Retry-After` says how many seconds to wait."


class HeadersTooLarge(Problem):
    """431: the header section is over the limit (RFC 6585, 5)."""

    status = 431
    slug = "headers-too-large"
    title = "Request header fields too large"
    description = "The request's headers are larger than 16 KiB."


class ServiceUnavailable(Problem):
    """503: a part we need does not answer; nothing was kept."""

    status = 503
    slug = "service-unavailable"
    title = "Service unavailable"
    description = "A part of the service is not answering. Nothing of the request was kept; repeat it in a moment."
    own_headers: ClassVar[Mapping[str, str]] = {"Retry-After": "1"}


def catalogue() -> dict[str, type[Problem]]:
    """Return every problem type by its slug, in the order of status and slug.

    Of classes that share a slug, because they differ in what they say about one and the same thing, it is the base.
    """

    def walk(cls: type[Problem]) -> list[type[Problem]]:
        return [cls, *(found for child in cls.__subclasses__() for found in walk(child))]

    by_slug: dict[str, type[Problem]] = {}
    for cls in walk(Problem)[1:]:
        by_slug.setdefault(cls.slug, cls)
    return dict(sorted(by_slug.items(), key=lambda entry: (entry[1].status, entry[0])))
