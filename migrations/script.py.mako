"""${message}

Before you merge this:
- Expand first, contract a release later: the release before this one must work on the new schema.
- New columns are nullable or have a constant default. NOT NULL, CHECK and FOREIGN KEY come as NOT VALID and are validated afterwards.
- An index on a table that exists: `with op.get_context().autocommit_block(): op.create_index(..., postgresql_concurrently=True)`.
- Rows are changed in batches by a task, not here.
- `downgrade` only where it loses nothing; otherwise let it raise and say why.

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision: str = ${repr(up_revision)}
down_revision: str | None = ${repr(down_revision)}
branch_labels: str | Sequence[str] | None = ${repr(branch_labels)}
depends_on: str | Sequence[str] | None = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
