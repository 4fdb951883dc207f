"""``smoke``: one signed-in round trip against a running service."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from app.cli.client import Client, Unexpected

if TYPE_CHECKING:
    import aiohttp

#: An event comes through the outbox and a worker's relay.
EVENT_SECONDS: Final = 20.0
NAME_WIDTH: Final = 20

type Step = Callable[[], Awaitable[None]]


class Trip:
    """The steps, in their order, and what they leave to each other.

    Args:
        client: Speaks to the service.
        api: Base path of the API.
        email: Account to sign in with.
        password: Its password.
    """

    def __init__(self, client: Client, api: str, email: str, password: str) -> None:
        self._client = client
        self._api = api
        self._credentials = {"email": email, "password": password}
        self._mark = secrets.token_hex(8)
        self._item: dict[str, Any] = {}
        self._etag = ""
        self._refresh_token = ""
        self._socket: aiohttp.ClientWebSocketResponse
        #: What would undo the trip at this moment, should it end here.
        self.undo: Step | None = None

    def steps(self, *, new: bool) -> list[Step]:
        """Return the steps, for an account that is new or one that is there."""
        begin = [self.ready, *([self.register] if new else []), self.login, self.open_socket]
        item = [self.create_item, self.repeat_request, self.read_item, self.find_item, self.receive_event, self.delete_item]
        return [*begin, *item, self.refresh, self.logout]

    async def ready(self) -> None:
        """See whether it takes requests."""
        await self._client.ask("GET", "/health/ready", expect=200)

    async def register(self) -> None:
        """Make the account."""
        await self._client.ask("POST", f"{self._api}/users/", expect=201, json=self._credentials)
        self.undo = self.delete_account

    async def login(self) -> None:
        """Sign in."""
        form = {"username": self._credentials["email"], "password": self._credentials["password"]}
        self._client.token = None
        self._keep((await self._client.ask("POST", f"{self._api}/auth/login", expect=200, data=form)).value)

    def _keep(self, tokens: Any) -> None:
        self._client.token, self._refresh_token = tokens["access_token"], tokens["refresh_token"]

    async def open_socket(self) -> None:
        """Follow live events, as a browser does: with a ticket."""
        ticket = (await self._client.ask("POST", f"{self._api}/ws/tickets", expect=201)).value["ticket"]
        self._socket = await self._client.open_socket(f"{self._api}/ws", {"ticket": ticket})

    async def _create(self) -> tuple[Any, str | None]:
        item = {"title": f"Smoke test {self._mark}", "attributes": {"smoke": self._mark}}
        answer = await self._client.ask("POST", f"{self._api}/items/", expect=201, json=item, headers={"Idempotency-Key": self._mark})
        self._etag = answer.headers.get("ETag", "")
        return answer.value, answer.headers.get("Idempotency-Replayed")

    async def create_item(self) -> None:
        """Make an item."""
        self.undo = self.undo or self.delete_leftovers
        self._item, _ = await self._create()

    async def repeat_request(self) -> None:
        """Send the same request again, and get the same answer."""
        item, replayed = await self._create()
        if item != self._item or replayed != "true":
            raise Unexpected(f"a repeated POST made item {item['id']} beside {self._item['id']} (Idempotency-Replayed: {replayed})")

    async def read_item(self) -> None:
        """Read it, knowing it already."""
        await self._client.ask("GET", f"{self._api}/items/{self._item['id']}", expect=304, headers={"If-None-Match": self._etag})

    async def find_item(self) -> None:
        """Find it by its document."""
        query = {"attributes": f'{{"smoke": "{self._mark}"}}'}
        found = (await self._client.ask("GET", f"{self._api}/items/", expect=200, params=query)).value
        if [item["id"] for item in found] != [self._item["id"]]:
            raise Unexpected(f"the list has {len(found)} items instead of item {self._item['id']}")

    async def receive_event(self) -> None:
        """See it announced."""
        try:
            async with asyncio.timeout(EVENT_SECONDS):
                async for message in self._socket:
                    frame = message.json()
                    if frame["type"] == "item.created" and frame["data"]["id"] == self._item["id"]:
                        await self._socket.close()
                        return
        except TimeoutError:
            raise Unexpected(f"no event within {EVENT_SECONDS:g} s: no worker runs, or Redis does not take events") from None
        raise Unexpected(f"the socket was closed with {self._socket.close_code}")

    async def delete_item(self) -> None:
        """Delete it."""
        await self._client.ask("DELETE", f"{self._api}/items/{self._item['id']}", expect=204)
        if self.undo == self.delete_leftovers:
            self.undo = None

    async def refresh(self) -> None:
        """Change the tokens for new ones."""
        grant = {"refresh_token": self._refresh_token}
        self._keep((await self._client.ask("POST", f"{self._api}/auth/refresh", expect=200, json=grant)).value)

    async def logout(self) -> None:
        """End the session."""
        await self._client.ask("POST", f"{self._api}/auth/logout", expect=204)

    async def delete_account(self) -> None:
        """Delete the account, and with it what a failed step left."""
        await self.login()
        await self._client.ask("DELETE", f"{self._api}/users/me", expect=204)
        self.undo = None

    async def delete_leftovers(self) -> None:
        """Delete the item of an account that stays; whoever does not know it is told by the repeated request."""
        await self.login()
        self._item, _ = await self._create()
        await self.delete_item()
        await self.logout()


def smoke(
    url: Annotated[str, typer.Argument(help="Where the service is, such as https://api.example.com.")],
    host: Annotated[str | None, typer.Option(help="Host name to ask for, where it is not the URL's.")] = None,
    api: Annotated[str, typer.Option(envvar="API_V1_STR", help="Base path of the API.")] = "/api/v1",
    email_domain: Annotated[
        str, typer.Option(envvar="SMOKE_EMAIL_DOMAIN", help="Domain of the new account's address, which is sent a welcome mail.")
    ] = "example.com",
    email: Annotated[str | None, typer.Option(envvar="SMOKE_EMAIL", help="Account to use instead of a new one.")] = None,
    password: Annotated[str | None, typer.Option(envvar="SMOKE_PASSWORD", help="Its password.")] = None,
) -> None:
    """Sign in, make an item, see its event, clean up; exit with 1 at the first step that fails.

    A new account is made and deleted again, unless SMOKE_EMAIL and SMOKE_PASSWORD name one, which gets no mail.
    """
    if bool(email) != bool(password):
        raise typer.BadParameter("SMOKE_EMAIL and SMOKE_PASSWORD: give both or neither")
    account = (email, password) if email and password else None
    made = (f"smoke-{secrets.token_hex(8)}@{email_domain}", secrets.token_urlsafe(24))
    if not asyncio.run(_travel(url, host, api, *(account or made), new=account is None)):
        raise typer.Exit(1)


async def _travel(url: str, host: str | None, api: str, email: str, password: str, *, new: bool) -> bool:
    """Take every step up to the first that fails, clean up, and return whether all went well."""
    began = time.monotonic()
    async with Client(url, host) as client:
        trip = Trip(client, api, email, password)
        try:
            good = await _take(trip.steps(new=new))
        finally:
            clean = trip.undo is None or await _take([trip.undo])
    seconds = time.monotonic() - began
    typer.echo(f"{url} works: all steps in {seconds:.1f} s." if good and clean else f"{url} does not work as it should.")
    return good and clean


async def _take(steps: Sequence[Step]) -> bool:
    """Take steps, up to the first that fails; say of each how it went."""
    for step in steps:
        name, began = step.__name__.replace("_", " "), time.monotonic()
        try:
            await step()
        except Unexpected as error:
            typer.echo(f"FAILED {name}: {error}")
            return False
        except (KeyError, TypeError) as error:
            typer.echo(f"FAILED {name}: an answer of another shape ({type(error).__name__}: {error}); is this the right service?")
            return False
        typer.echo(f"ok     {name:{NAME_WIDTH}} {1000 * (time.monotonic() - began):6.0f} ms")
    return True
