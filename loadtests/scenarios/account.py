"""The life of an account, from the registration to its end."""

from typing import Any, Final

from loadtests.scenarios.visit import API, PASSWORD, Visit, equals, form, token_pair

REGISTER: Final = f"POST {API}/users/"
LOGIN: Final = f"POST {API}/auth/login"
CHANGE: Final = f"PATCH {API}/users/me"
CHANGE_PASSWORD: Final = f"POST {API}/users/me/password"
END_OTHERS: Final = f"DELETE {API}/auth/sessions"
DELETE: Final = f"DELETE {API}/users/me"
CALLS: Final = (REGISTER, LOGIN, CHANGE, CHANGE_PASSWORD, END_OTHERS, DELETE)


def run(visit: Visit) -> None:
    """Register, sign in, change address and password, end other sessions, delete the account.

    A superuser registers, as registrations of strangers are limited by their address, which all visits share.
    """
    email, moved = visit.address(), visit.address()
    body: dict[str, Any] = {"email": email, "password": PASSWORD}
    visit.ask(REGISTER, expect=201, token=visit.superuser.token, json=body, check=equals(email=email, is_superuser=False))
    data, header = form(username=email, password=PASSWORD)
    pair: Any = visit.ask(LOGIN, token="", data=data, headers=header, check=token_pair).value
    token = pair["access_token"]
    visit.ask(CHANGE, token=token, json={"email": moved}, check=equals(email=moved))
    visit.ask(CHANGE_PASSWORD, expect=204, token=token, json={"current_password": PASSWORD, "new_password": f"{PASSWORD} again"})
    visit.ask(END_OTHERS, expect=204, token=token)
    visit.ask(DELETE, expect=204, token=token)
