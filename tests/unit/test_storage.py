"""The object store: a real one, and the same behind a connection that breaks."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from app.core.config import Settings
from app.core.errors import ServiceUnavailable
from app.services import storage as storages
from app.services.storage import ObjectMissing, Storage, Stored, open_storage
from tests.conftest import WorkerBucket

CONTENT = bytes(range(256)) * 8192
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
async def storage(settings: Settings, s3: WorkerBucket) -> AsyncGenerator[Storage]:
    """The way to this worker's bucket."""
    async with open_storage(settings) as storage:
        yield storage


async def pieces(content: bytes) -> AsyncGenerator[bytes]:
    """Yield a content in pieces."""
    for begin in range(0, len(content), 65_536):
        yield content[begin : begin + 65_536]


async def put(storage: Storage, content: bytes = CONTENT) -> tuple[str, Stored]:
    """Store a content; return its key and what the store says of it."""
    key = f"tests/{uuid4().hex}"
    checksum = hashlib.sha256(content).hexdigest()
    return key, await storage.put(key, pieces(content), size=len(content), content_type="text/csv", checksum_sha256=checksum)


async def everything(storage: Storage, key: str, stored: Stored, offset: int = 0) -> bytes:
    """Return an object's bytes from an offset on."""
    return b"".join([piece async for piece in storage.read(key, etag=stored.etag, offset=offset, size=stored.size)])


async def test_what_is_put_is_read_from_any_byte(storage: Storage) -> None:
    key, stored = await put(storage)
    assert stored[:3] == (len(CONTENT), "text/csv", CHECKSUM)
    assert await storage.head(key) == stored
    for offset in (0, 1, 100_000, len(CONTENT) - 1, len(CONTENT)):
        assert await everything(storage, key, stored, offset) == CONTENT[offset:]


async def test_a_deleted_object_is_gone_and_deleting_again_is_no_error(storage: Storage) -> None:
    key, stored = await put(storage)
    await storage.delete(key)
    await storage.delete(key)
    assert await storage.head(key) is None
    with pytest.raises(ObjectMissing):
        await everything(storage, key, stored)


async def test_an_object_that_was_changed_is_not_read_further(storage: Storage) -> None:
    key, stored = await put(storage)
    other = CONTENT[::-1]
    await storage.put(key, pieces(other), size=len(other), content_type="text/csv", checksum_sha256=hashlib.sha256(other).hexdigest())
    with pytest.raises(ObjectMissing):
        await everything(storage, key, stored, 100)


async def test_a_content_that_is_not_what_was_said_is_not_stored(storage: Storage) -> None:
    key = f"tests/{uuid4().hex}"
    with pytest.raises(ServiceUnavailable):
        await storage.put(key, pieces(CONTENT), size=len(CONTENT), content_type="text/csv", checksum_sha256="0" * 64)
    assert await storage.head(key) is None


async def test_objects_are_listed_once_they_are_old(storage: Storage) -> None:
    key, _ = await put(storage)
    now = datetime.now(UTC)
    found = [one async for page in storage.older_than("tests/", now + timedelta(minutes=1)) for one in page]
    assert key in found
    assert [page async for page in storage.older_than(key, now - timedelta(hours=1))] == [[]]


async def test_clients_are_sent_to_the_public_endpoint(settings: Settings, s3: WorkerBucket) -> None:
    public = settings.model_copy(update={"S3_PUBLIC_ENDPOINT_URL": "https://files.example.com"})
    async with open_storage(public) as storage:
        upload = await storage.presign_put("k", size=1, content_type="text/csv", checksum_sha256=CHECKSUM)
        assert upload.url.startswith(f"https://files.example.com/{settings.S3_BUCKET}/k?")
        await put(storage)
    assert timedelta(minutes=59) < upload.expires_at - datetime.now(UTC) <= storages.UPLOAD_LIFETIME


@dataclass
class Proxy:
    """Passes bytes to the store, and breaks each connection after as many as it is told."""

    breaks_after: int
    url: str = ""
    connections: int = 0
    _target: tuple[str, int] = ("", 0)
    _serving: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    @asynccontextmanager
    async def open(self, endpoint: str) -> AsyncGenerator["Proxy"]:
        """Listen in front of an endpoint."""
        parts = urlsplit(endpoint)
        self._target = (parts.hostname or "", parts.port or 80)
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield self
        server.close()
        for serving in self._serving:
            serving.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._serving.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        sending = asyncio.create_task(self._pass(reader, upstream_writer, 2**40))
        try:
            with suppress(ConnectionError):
                await self._pass(upstream_reader, writer, self.breaks_after)
        finally:
            sending.cancel()
            for end in (writer, upstream_writer):
                end.transport.abort()
            await asyncio.gather(sending, return_exceptions=True)

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int) -> None:
        while limit > 0 and (piece := await reader.read(min(limit, 65_536))):
            limit -= len(piece)
            writer.write(piece)
            await writer.drain()


async def test_a_connection_that_breaks_is_taken_up_where_it_broke(
    storage: Storage, settings: Settings, s3: WorkerBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storages, "RETRY_SECONDS", 0)
    key, stored = await put(storage)
    async with Proxy(breaks_after=600_000).open(s3.store.endpoint_url) as proxy:
        behind = settings.model_copy(update={"S3_ENDPOINT_URL": proxy.url})
        async with open_storage(behind) as broken:
            assert await everything(broken, key, stored) == CONTENT
        assert proxy.connections >= 4


async def test_a_store_that_gives_nothing_is_given_up(
    storage: Storage, settings: Settings, s3: WorkerBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storages, "RETRY_SECONDS", 0)
    key, stored = await put(storage)
    async with Proxy(breaks_after=0).open(s3.store.endpoint_url) as proxy:
        behind = settings.model_copy(update={"S3_ENDPOINT_URL": proxy.url})
        async with open_storage(behind) as broken:
            with pytest.raises(ServiceUnavailable):
                await everything(broken, key, stored)
            with pytest.raises(ServiceUnavailable):
                await broken.head(key)
            with pytest.raises(ServiceUnavailable):
                await broken.delete(key)
            with pytest.raises(ServiceUnavailable):
                await put(broken)
            with pytest.raises(ServiceUnavailable):
                async with aclosing(broken.older_than("", datetime.now(UTC))) as pages:
                    await anext(pages)


async def test_a_store_that_refuses_the_service_is_as_one_that_is_away(
    storage: Storage, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storages, "RETRY_SECONDS", 0)
    key, stored = await put(storage)
    async with open_storage(settings.model_copy(update={"S3_ACCESS_KEY_ID": "nobody"})) as refused:
        with pytest.raises(ServiceUnavailable):
            await refused.head(key)
        with pytest.raises(ServiceUnavailable):
            await everything(refused, key, stored)


async def test_an_object_shorter_than_it_was_is_not_waited_for(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storages, "RETRY_SECONDS", 0)
    key, stored = await put(storage)
    with pytest.raises(ServiceUnavailable):
        await everything(storage, key, stored._replace(size=stored.size + 1))


async def test_without_credentials_nothing_can_be_sent(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with open_storage(settings.model_copy(update={"S3_ACCESS_KEY_ID": None, "S3_SECRET_ACCESS_KEY": None})) as storage:
        with pytest.raises(ServiceUnavailable):
            await storage.presign_put("k", size=1, content_type="text/csv", checksum_sha256=CHECKSUM)
