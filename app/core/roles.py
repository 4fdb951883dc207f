"""The two roles of a PostgreSQL database: one owns the schema, the other serves and cannot change it."""

import hashlib
import hmac
import os
from base64 import b64encode
from dataclasses import dataclass
from typing import Final

import asyncpg

#: Rounds of PBKDF2, PostgreSQL's own default.
ITERATIONS: Final = 4096

type Connection = asyncpg.Connection[asyncpg.Record]


class UnsafePassword(ValueError):  # noqa: N818  # says what it is, not that something broke
    """The password has characters that clients may encode in more than one way."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role that signs in."""

    name: str
    password: str


def verifier(password: str) -> str:
    """Return what PostgreSQL keeps of a password (SCRAM-SHA-256, RFC 5803).

    Sent instead of the password, so that no log of statements, however it is set, ever has it.

    Raises:
        UnsafePassword: if it is not printable ASCII: others would have to be normalised as every client does (RFC 4013).
    """
    if not (password.isascii() and password.isprintable()):
        raise UnsafePassword
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(_keyed(salted, b"Client Key")).digest()
    parts = (b64encode(part).decode() for part in (salt, stored, _keyed(salted, b"Server Key")))
    return "SCRAM-SHA-256${}:{}${}:{}".format(ITERATIONS, *parts)


def _keyed(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def quoted(name: str) -> str:
    """Return the name of a role or a database as SQL takes it; DDL takes no parameters."""
    return '"' + name.replace('"', '""') + '"'


async def save_roles(administrator: "Connection", *roles: Role) -> None:
    """Make roles that sign in, or give those that are there their passwords. What else they may do stays as it is.

    Raises:
        UnsafePassword: if a password is not printable ASCII.
        asyncpg.InsufficientPrivilegeError: if the administrator may not make roles, or did not make these.
    """
    async with administrator.transaction():
        # PostgreSQL lets one of two that change a role at the same time fail, instead of wait.
        await administrator.execute("SELECT pg_advisory_xact_lock(hashtext('platform roles'))")
        for role in roles:
            exists = await administrator.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role.name)
            verb = "ALTER" if exists else "CREATE"
            await administrator.execute(f"{verb} ROLE {quoted(role.name)} LOGIN PASSWORD '{verifier(role.password)}'")


async def save_database(administrator: "Connection", name: str, owner: str) -> bool:
    """Make a database that belongs to the owner, unless it is there; returns whether it was made.

    An administrator that is no superuser, such as that of RDS, gives away only what belongs to a role it is a member of. It
    becomes one for as long as this takes.
    """
    if await administrator.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name):
        return False
    member = await administrator.fetchval("SELECT pg_has_role(current_user, $1, 'SET')", owner)  # of every role, as a superuser
    if not member:
        await administrator.execute(f"GRANT {quoted(owner)} TO CURRENT_USER")
    try:
        await administrator.execute(f"CREATE DATABASE {quoted(name)} OWNER {quoted(owner)}")
    finally:
        if not member:
            await administrator.execute(f"REVOKE {quoted(owner)} FROM CURRENT_USER")
    return True


async def grant(owner: "Connection", app: str) -> None:
    """Let the service's role use what the owner will make in the schema ``public`` of the database."""
    role = quoted(app)
    await owner.execute(f"""
        GRANT USAGE ON SCHEMA public TO {role};
        ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role};
        ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO {role};
    """)
