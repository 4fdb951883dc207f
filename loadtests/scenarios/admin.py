"""A superuser looks after accounts."""

from typing import Any, Final

from loadtests.scenarios.visit import API, PASSWORD, Visit, equals, lists

LIST: Final = f"GET {API}/users/"
REGISTER: Final = f"POST {API}/users/"
READ: Final = f"GET {API}/users/{{user_id}}"
CHANGE: Final = f"PATCH {API}/users/{{user_id}}"
DELETE: Final = f"DELETE {API}/users/{{user_id}}"
CALLS: Final = (LIST, REGISTER, READ, CHANGE, DELETE)


def run(visit: Visit) -> None:
    """List accounts, make one, lock it, delete it."""
    token = visit.superuser.token
    visit.ask(LIST, f"{API}/users/?limit=50", token=token, check=lists(lambda user: "@" in user["email"], least=1))
    email = visit.address()
    body: dict[str, Any] = {"email": email, "password": PASSWORD}
    user: Any = visit.ask(REGISTER, expect=201, token=token, json=body, check=equals(email=email)).value
    path = f"{API}/users/{user['id']}"
    visit.ask(READ, path, token=token, check=equals(**user))
    visit.ask(CHANGE, path, token=token, json={"is_active": False}, check=equals(id=user["id"], is_active=False))
    visit.ask(DELETE, path, expect=204, token=token)
