"""People for the load."""

import asyncio

from tests.e2e.release import Release
from tests.reliability.actors import Client, Person, Record, register

AT_ONCE = 4


async def people(release: Release, record: Record, count: int) -> list[Person]:
    """Register people, past the ingress: it would give all of them one address, which may not register that many."""
    async with release.cluster.forward(f"service/{release.object_name('api')}", 80) as port:
        client = Client(f"http://127.0.0.1:{port}", record)
        turns = asyncio.Semaphore(AT_ONCE)

        async def one() -> Person:
            async with turns:
                return await register(client, record)

        try:
            return await asyncio.gather(*(one() for _ in range(count)))
        finally:
            await client.close()
