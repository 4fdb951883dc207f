"""Signing in and staying signed in."""

from httpx import AsyncClient

from tests.api.conftest import PASSWORD, Person

LOGIN = "/api/v1/auth/login"
ME = "/api/v1/users/me"


async def test_an_access_token_of_a_sign_in_opens_the_api(client: AsyncClient, user: Person) -> None:
    response = await client.post(LOGIN, data={"username": user.email, "password": PASSWORD})
    assert response.status_code == 200, response.text
    token = response.json()
    assert token["token_type"] == "bearer"
    assert token["expires_in"] == 900
    me = await client.get(ME, headers={"Authorization": f"Bearer {token['access_token']}"})
    assert (me.status_code, me.json()["email"]) == (200, user.email)
