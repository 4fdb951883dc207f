"""Which states of the database this release works with."""

from typing import Final

#: Number of the migration this release needs.
NEEDED: Final = 1
#: Migrations of later releases it tolerates. They only add (expand, then contract a release later), so that after a
#: rollback of the application it meets a database that is ahead, and works.
TOLERATED_AHEAD: Final = 50


def is_accepted(revision: str) -> bool:
    """Return whether the application works with a database at ``revision``, a number such as ``0001``."""
    return revision.isdigit() and NEEDED <= int(revision) <= NEEDED + TOLERATED_AHEAD
