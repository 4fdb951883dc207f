"""Accounts through the API."""

from httpx import AsyncClient

USERS = "/api/v1/users/"


async def test_a_registration_answers_201_with_the_account(client: AsyncClient) -> None:
    response = await client.post(USERS, json={"email": "test@example.com", "password": "strongpassword", "is_active": True})
    assert response.status_code == 201, response.text
    made = response.json()
    assert made["email"] == "test@example.com"
    assert made["is_active"] is True
    assert made["is_superuser"] is False
    assert set(made) == {"id", "email", "is_active", "is_superuser", "created_at", "updated_at"}
