"""Keeps people signed in for as long as a run takes: access tokens live for minutes, soaks for hours."""

import json
import logging
import time
from typing import Any, Final

import gevent
from geventhttpclient import HTTPClient

from loadtests.gate.plan import Plan
from loadtests.scenarios.visit import API, Person

EARLY_SECONDS: Final = 180
PAUSE_SECONDS: Final = 5
HTTP_OK: Final = 200
HEADERS: Final = {"Content-Type": "application/json"}

logger = logging.getLogger(__name__)


def renew_tokens(plan: Plan) -> None:
    """Renew the tokens that are about to end, for ever."""
    client: Any = HTTPClient.from_url(plan.targets[0], insecure=False)
    while True:
        gevent.sleep(PAUSE_SECONDS)
        for person in [*plan.people, plan.superuser]:
            if person.token_ends - time.time() < EARLY_SECONDS:
                try:
                    _renew(client, person)
                except (OSError, ValueError, KeyError) as error:  # tried again after the pause
                    logger.warning("the token of %s was not renewed: %s", person.email, error)


def _renew(client: Any, person: Person) -> None:
    response = client.post(f"{API}/auth/refresh", json.dumps({"refresh_token": person.refresh_token}), HEADERS)
    answer: Any = json.loads(response.read())
    if response.status_code != HTTP_OK:
        raise ValueError(f"{response.status_code}: {answer.get('detail')}")
    person.token, person.refresh_token = answer["access_token"], answer["refresh_token"]
    person.token_ends = time.time() + answer["expires_in"]
