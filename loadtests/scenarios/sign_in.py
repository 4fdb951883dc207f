"""Somebody signs in on two devices, stays signed in, and signs out."""

from typing import Any, Final

from loadtests.scenarios.visit import API, PASSWORD, Visit, form, lists, token_pair

LOGIN: Final = f"POST {API}/auth/login"
REFRESH: Final = f"POST {API}/auth/refresh"
LOGOUT: Final = f"POST {API}/auth/logout"
SESSIONS: Final = f"GET {API}/auth/sessions"
END_ONE: Final = f"DELETE {API}/auth/sessions/{{session_id}}"
CALLS: Final = (LOGIN, LOGIN, REFRESH, SESSIONS, END_ONE, LOGOUT)


def run(visit: Visit) -> None:
    """Sign in twice, refresh, end the other session, sign out. The sessions that the run reads with stay."""
    body, header = form(username=visit.person.email, password=PASSWORD)
    first: Any = visit.ask(LOGIN, token="", data=body, headers=header, check=token_pair).value
    second: Any = visit.ask(LOGIN, token="", data=body, headers=header, check=token_pair).value
    grant = {"refresh_token": first["refresh_token"]}
    first = visit.ask(REFRESH, token="", json=grant, check=token_pair).value
    current = lists(lambda session: isinstance(session["id"], str), least=2)
    sessions: Any = visit.ask(SESSIONS, token=second["access_token"], check=current).value
    own = next(session["id"] for session in sessions if session["is_current"])
    visit.ask(END_ONE, f"{API}/auth/sessions/{own}", expect=204, token=first["access_token"])
    visit.ask(LOGOUT, expect=204, token=first["access_token"])
