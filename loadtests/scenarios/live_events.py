"""Somebody watches live events while they write."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from loadtests.scenarios.visit import API, Visit, equals

TICKET: Final = f"POST {API}/ws/tickets"
CREATE: Final = f"POST {API}/items/"
DELETE: Final = f"DELETE {API}/items/{{item_id}}"
CALLS: Final = (TICKET, CREATE, DELETE)
FLOWS: Final = ("live-event",)
PATIENCE_SECONDS: Final = 10


def run(visit: Visit) -> None:
    """Open a socket, make an item, see it come; delete it, see it go. Each comes once."""
    ticket: Any = visit.ask(TICKET, expect=201).value["ticket"]
    frames = visit.listen(ticket)
    try:
        title = visit.name()
        visit.begin_flow("live-event")
        item: Any = visit.ask(CREATE, expect=201, json={"title": title}, check=equals(title=title)).value
        visit.made(item["id"], title)
        frames.wait_for(of_item(item["id"], "item.created"), PATIENCE_SECONDS)
        visit.end_flow("live-event")
        visit.ask(DELETE, f"{API}/items/{item['id']}", expect=204)
        visit.removed(item["id"])
        # A second `item.created` would be first in line.
        last = frames.wait_for(of_item(item["id"]), PATIENCE_SECONDS)
        if last["type"] != "item.deleted":
            visit.end_flow("live-event", f"{last['type']} came twice or out of order")
    finally:
        frames.close()


def of_item(item_id: int, kind: str | None = None) -> Callable[[Mapping[str, Any]], bool]:
    """Return what takes the frames of an item, those of one type alone if it is given."""

    def accept(frame: Mapping[str, Any]) -> bool:
        return frame["type"].startswith("item.") and bool(frame["data"]["id"] == item_id) and kind in {None, frame["type"]}

    return accept
