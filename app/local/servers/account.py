"""The unprivileged account a server runs under when the stack is started by root."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

CANDIDATES = ("postgres", "_postgres", "nobody", "daemon")


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine that is not root."""

    name: str
    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """Return the account to run under, or None when we are not root and need no other.

    Raises:
        LookupError: when root has no other account to choose from.
    """
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise LookupError(f"none of the accounts {', '.join(CANDIDATES)} exists on this machine")


class Identity(TypedDict, total=False):
    """Who a child process runs as, in the terms of ``subprocess``."""

    user: int
    group: int
    extra_groups: list[int]


def identity(account: Account | None) -> Identity:
    """Return what makes a child process run as ``account``, or as ourselves."""
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}


def can_enter(folder: Path, account: Account) -> bool:
    """Tell whether ``account`` can reach ``folder``: only a process of its own knows every rule that applies."""
    listing = subprocess.run(
        ["ls", "-d", f"{folder}/."],  # noqa: S607  # the system's own
        capture_output=True,
        cwd="/",
        check=False,
        **identity(account),
    )
    return listing.returncode == 0
