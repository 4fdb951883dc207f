"""Somebody writes: makes items, changes one, deletes one."""

from typing import Any, Final
from uuid import uuid4

from loadtests.scenarios.visit import API, Visit, equals

CREATE: Final = f"POST {API}/items/"
BATCH: Final = f"POST {API}/items/batch"
READ: Final = f"GET {API}/items/{{item_id}}"
CHANGE: Final = f"PATCH {API}/items/{{item_id}}"
DELETE: Final = f"DELETE {API}/items/{{item_id}}"
CALLS: Final = (CREATE, READ, CHANGE, BATCH, DELETE)
BATCH_SIZE: Final = 5


def run(visit: Visit) -> None:
    """Make an item, read it, change it, make five at once, delete one of them."""
    owner, title = visit.person.id, visit.name()
    key = {"Idempotency-Key": uuid4().hex}
    body = {"title": title, "description": "a text of usual length", "attributes": {"colour": "black", "weight": 3}}
    item: Any = visit.ask(CREATE, expect=201, headers=key, json=body, check=equals(owner_id=owner, version=1, **body)).value
    visit.made(item["id"], title)
    path = f"{API}/items/{item['id']}"
    visit.ask(READ, path, check=equals(**item))
    patch, match = {"attributes": {"weight": 4}}, {"Content-Type": "application/merge-patch+json", "If-Match": '"1"'}
    changed = equals(id=item["id"], title=title, version=2, attributes={"colour": "black", "weight": 4})
    visit.ask(CHANGE, path, headers=match, json=patch, check=changed)

    titles = [f"{title}-{number}" for number in range(BATCH_SIZE)]

    def in_order(value: Any) -> str | None:
        return None if [made["title"] for made in value] == titles else "the items are not those that were sent"

    several: Any = visit.ask(BATCH, expect=201, json=[{"title": each} for each in titles], check=in_order).value
    for made in several:
        visit.made(made["id"], made["title"])
    visit.ask(DELETE, f"{API}/items/{several[0]['id']}", expect=204)
    visit.removed(several[0]["id"])
