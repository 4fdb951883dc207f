"""Somebody looks at what they have: the most frequent journey."""

from typing import Any, Final

from loadtests.scenarios.visit import API, Visit, equals, lists

ITEM: Final = f"GET {API}/items/{{item_id}}"
ITEMS: Final = f"GET {API}/items/"
ME: Final = f"GET {API}/users/me"
USER: Final = f"GET {API}/users/{{user_id}}"
CALLS: Final = (ME, USER, ITEMS, ITEMS, ITEM, ITEM)
PAGE: Final = 20


def run(visit: Visit) -> None:
    """Read two items, a page of them and a search, then who one is. Nothing of anybody else may be among it."""
    person = visit.person
    for item_id, title in visit.chance.sample(person.items, 2):
        visit.ask(ITEM, f"{API}/items/{item_id}", check=equals(id=item_id, owner_id=person.id, title=title))

    def own(item: Any) -> bool:
        return bool(item["owner_id"] == person.id)

    visit.ask(ITEMS, f"{API}/items/?limit={PAGE}", check=lists(own, least=PAGE))
    colour = visit.chance.choice(["red", "green", "blue"])

    def found(item: Any) -> bool:
        return own(item) and item["attributes"].get("colour") == colour

    visit.ask(ITEMS, f"{API}/items/?limit={PAGE}&attributes=%7B%22colour%22%3A%22{colour}%22%7D", check=lists(found, least=1))
    me = equals(id=person.id, email=person.email)
    visit.ask(ME, check=me)
    visit.ask(USER, f"{API}/users/{person.id}", check=me)
