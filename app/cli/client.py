"""A client of a running service that says everything about an answer it did not expect."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import orjson

TIMEOUT_SECONDS: Final = 10.0
MOST_CHARACTERS: Final = 300


class Unexpected(Exception):  # noqa: N818  # an answer, not an error
    """The service did not answer as it should; the message says how instead."""


class Answer:
    """What the service answered.

    Attributes:
        headers: Its headers.
        value: Its body, parsed; ``None`` where it is empty or no JSON.
    """

    def __init__(self, headers: Mapping[str, str], body: bytes) -> None:
        self.headers = headers
        try:
            self.value: Any = orjson.loads(body)
        except orjson.JSONDecodeError:
            self.value = None


class Client:
    """Speaks to one service.

    Args:
        url: Where it is: scheme, host, port.
        host: Name to ask for instead of the host in ``url``.
    """

    def __init__(self, url: str, host: str | None) -> None:
        self._url = url.rstrip("/")
        self._host = host
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))
        #: The access token to send.
        self.token: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._session.close()

    def _headers(self) -> dict[str, str]:
        headers = {"Host": self._host} if self._host else {}
        return headers | ({"Authorization": f"Bearer {self.token}"} if self.token else {})

    async def ask(self, method: str, path: str, *, expect: int, headers: Mapping[str, str] | None = None, **body: Any) -> Answer:
        """Send a request.

        Args:
            method: HTTP's.
            path: Begins with a slash.
            expect: The status that is right.
            headers: Further headers.
            body: aiohttp's ``json``, ``data`` or ``params``.

        Raises:
            Unexpected: if no answer comes, or one with another status.
        """
        sent = self._headers() | dict(headers or {})
        try:
            async with self._session.request(
                method, self._url + path, headers=sent, server_hostname=self._host, allow_redirects=False, **body
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise Unexpected(f"{method} {path}: {_reason(error)}") from error
        if response.status != expect:
            raise Unexpected(f"{method} {path} answered {response.status} instead of {expect}: {_explain(response.headers, content)}")
        return Answer(response.headers, content)

    async def open_socket(self, path: str, params: Mapping[str, str]) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket.

        Raises:
            Unexpected: if it is refused.
        """
        headers = {"Host": self._host} if self._host else {}
        try:
            return await self._session.ws_connect(self._url + path, headers=headers, params=params, server_hostname=self._host)
        except (aiohttp.ClientError, OSError) as error:
            raise Unexpected(f"WebSocket {path}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"refused with {error.status}"  # its message shows the ticket
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:g} s"
    return f"{type(error).__name__}: {error}"


def _explain(headers: Mapping[str, str], content: bytes) -> str:
    """Return what a problem (RFC 9457) says, or the beginning of what is none."""
    if not headers.get("Content-Type", "").startswith("application/problem+json"):
        return content[:MOST_CHARACTERS].decode(errors="replace") or headers.get("Location", "an empty body")
    problem = Answer(headers, content).value
    faults = [f"{fault['pointer']} {fault['detail']}" for fault in problem.get("errors", [])]
    return f"{' '.join([problem['detail'], *faults])} (request id {problem['request_id']})"
