"""moto, as a server on loopback, and the recipes over it."""

import logging
import socket
import threading
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import boto3
from botocore.config import Config

from tests.infra.rehearsal.kinds import kind
from tests.infra.rehearsal.outputs import identifier, plausible
from tests.infra.rehearsal.values import Values

if TYPE_CHECKING:
    from tests.infra.rehearsal.world import Thing

type Make = Callable[["Cloud", Values], tuple[str, Values]]
type Delete = Callable[["Cloud", "Thing"], object]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How moto makes and deletes something."""

    make: Make
    delete: Delete


#: By type. What is not here is made in memory alone.
RECIPES: Final[dict[str, Recipe]] = {}


def recipe(token: str, delete: Delete) -> Callable[[Make], Make]:
    """Register how something is made and deleted."""

    def register(make: Make) -> Make:
        RECIPES[token] = Recipe(make, delete)
        return make

    return register


class Cloud:
    """An account in moto.

    Args:
        endpoint: Of moto.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        # moto imports its modules and fills its tables as requests come, and does not expect two at once.
        self._one_at_a_time = threading.Lock()
        self._clients: dict[tuple[str, str], Any] = {}
        self.account = "111111111111"
        self.region = "us-east-1"
        self.default_tags: dict[str, str] = {}

    def configure(self, given: Values) -> None:
        """Take the provider's configuration: whose resources are made, and where."""
        if "allowedAccountIds" in given:
            self.account, self.region = given["allowedAccountIds"][0], given["region"]
            self.default_tags = given.get("defaultTags", {}).get("tags", {})

    def make(self, urn: str, token: str, inputs: Values) -> tuple[str, Values]:
        """Make something, in moto where moto knows it.

        Args:
            urn: Whose it is in the program.
            token: Its type.
            inputs: Its properties, without marks.
        """
        known = RECIPES.get(token)
        if known:
            with self._one_at_a_time:
                id_, added = known.make(self, inputs)
        else:
            id_, added = _unknown(token, inputs), {}
        outputs = plausible(token, id_, self.account, self.region) | added
        if "tagsAll" in kind(token).outputs:
            outputs["tagsAll"] = self.default_tags | inputs.get("tags", {})
        return id_, outputs

    def delete(self, thing: "Thing") -> None:
        """Delete something that was made."""
        known = RECIPES.get(thing.token)
        if known:
            with self._one_at_a_time:
                known.delete(self, thing)

    def forget(self) -> None:
        """Empty moto: nothing was ever made."""
        urllib.request.urlopen(urllib.request.Request(f"{self._endpoint}/moto-api/reset", method="POST"), timeout=30).close()

    def client(self, service: str) -> Any:
        """Return a client of a service of AWS, which speaks to moto alone."""
        key = service, self.region
        if key not in self._clients:
            connect = cast("Any", boto3).client  # stubs of most services are not installed
            client = connect(
                service,
                region_name=self.region,
                endpoint_url=self._endpoint,
                aws_access_key_id="rehearsal",
                aws_secret_access_key="rehearsal",
                config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, proxies={}),
            )
            client.meta.events.register("before-sign", self._as_account)
            self._clients[key] = client
        return self._clients[key]

    def _as_account(self, request: Any, **_: Any) -> None:
        request.headers["x-moto-account-id"] = self.account


def _unknown(token: str, inputs: Values) -> str:
    """Return an id for what is made in memory alone: its name, if it has one."""
    return inputs.get(kind(token).name or "", None) or identifier(token.rsplit(":", 1)[1].lower())


@contextmanager
def moto() -> Generator[str]:
    """Start moto on a free port of loopback, and give its address."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415  # takes seconds to import, and not every test needs it

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else it prints every request
    server = ThreadedMotoServer("127.0.0.1", _free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
