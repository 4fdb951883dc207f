"""Passwords: which are accepted, how they are kept, and where the slow work happens."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from passlib.context import CryptContext

from app.core.errors import ServiceUnavailable

MIN_PASSWORD_LENGTH: Final = 8
#: Bounds the work of hashing; no person types more.
MAX_PASSWORD_LENGTH: Final = 1024
#: Passwords waiting for a thread before a further one is turned away: some five seconds' work of one thread.
MAX_WAITING: Final = 100
#: What bcrypt reads of a password.
BCRYPT_BYTES: Final = 72

#: Argon2id above OWASP's minimum (19 MiB, two passes). One lane, so that a hash takes one processor and not four.
#: bcrypt hashes verify and are replaced at the next login.
CONTEXT: Any = CryptContext(
    schemes=["argon2", "bcrypt"],
    deprecated=["bcrypt"],
    argon2__type="ID",
    argon2__time_cost=3,
    argon2__memory_cost=32_768,
    argon2__parallelism=1,
)
#: Nobody's: what a password is compared with where there is no account, so that the comparison takes as long.
NOBODYS_HASH: Final = "$argon2id$v=19$m=32768,t=3,p=1$/V+LsZZyDuHcOyekVGpNKQ$7VgmnSAoR4RYdaaXLjWepHUaVLOYtSFUuie8pdCEgLU"


@dataclass(slots=True, frozen=True)
class Verification:
    """How a password compared.

    Attributes:
        matches: Whether it is the account's.
        replacement: The hash to keep instead of the present one, where that is of a former kind.
    """

    matches: bool
    replacement: str | None = None


@lru_cache(maxsize=1)
def common_passwords() -> frozenset[str]:
    """Return the passwords everybody tries first, in lower case."""
    listed = files("app.core").joinpath("data/common_passwords.txt").read_text(encoding="utf-8")
    return frozenset(line for line in listed.split("\n") if line)


def check_password(password: str) -> str:
    """Return a password that may be chosen.

    Raises:
        ValueError: if it is among the most common ones.
    """
    if password.lower() in common_passwords():
        raise ValueError("is one of the most common passwords; choose another")
    return password


def hash_password(password: str) -> str:
    """Return the hash to keep of a password. Takes some 0.05 s; see ``Passwords`` for use on an event loop."""
    hashed: str = CONTEXT.hash(password)
    return hashed


def verify_password(password: str, hashed: str | None) -> Verification:
    """Compare a password with a kept hash, in the same time whether there is one or not.

    Args:
        password: As given.
        hashed: What is kept; ``None`` where the account does not exist.
    """
    known = hashed if hashed is not None and CONTEXT.identify(hashed) else NOBODYS_HASH
    given = password.encode(errors="surrogatepass")
    try:
        compared = given[:BCRYPT_BYTES] if CONTEXT.identify(known) == "bcrypt" else given
        matches = bool(CONTEXT.verify(compared, known)) and known == hashed
    except ValueError:  # bcrypt reads no NUL; a hash cut short matches nothing
        matches = False
    replacement = CONTEXT.hash(given) if matches and CONTEXT.needs_update(hashed) else None
    return Verification(matches, replacement)


class Passwords:
    """Hashes passwords in a few threads of its own, so that neither the loop nor other threads' work waits.

    Args:
        threads: Passwords worked on at the same time.
    """

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """Return the hash to keep of a password.

        Raises:
            ServiceUnavailable: if too many are waiting already.
        """
        return await self._run(hash_password, password)

    async def verify(self, password: str, hashed: str | None) -> Verification:
        """Compare a password with a kept hash (``None``: no such account), in the same time for both.

        Raises:
            ServiceUnavailable: if too many are waiting already.
        """
        return await self._run(verify_password, password, hashed)

    def close(self) -> None:
        """Let the threads end after the password they are at."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run[*A, R](self, work: Callable[[*A], R], *arguments: *A) -> R:
        if self._waiting >= MAX_WAITING:
            raise ServiceUnavailable("Too many sign-ins are waiting; repeat the request in a moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1
