"""Write the build context of the next release: ``python -m tests.e2e.next_image FOLDER``.

It is this release with one more migration, which only adds, and which its code says it needs. Build it like the image itself:
``docker build --tag fastapi-platform:next FOLDER``.
"""

import re
import shutil
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CONTEXT = ("Dockerfile", ".dockerignore", "pyproject.toml", "requirements", "migrations", "app")
NEEDED = re.compile(r"^NEEDED: Final = (\d+)$", re.MULTILINE)
MIGRATION = '''"""What the next release adds.

Revision ID: {revision}
Revises: {former}
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "{revision}"
down_revision: str | None = "{former}"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("items", sa.Column("added_by_the_next_release", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("items", "added_by_the_next_release")
'''


def write(folder: Path) -> Path:
    """Write the next release to a folder that does not exist, and return its migration.

    Raises:
        FileExistsError: if there is something already.
        ValueError: if the release does not say which migration it needs.
    """
    folder.mkdir(parents=True)
    for name in CONTEXT:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    schema = folder / "app" / "core" / "schema.py"
    text = schema.read_text()
    found = NEEDED.search(text)
    if found is None:
        raise ValueError(f"{schema.name} has no line `NEEDED: Final = <number>` any more; change NEEDED here too.")
    former = int(found.group(1))
    schema.write_text(NEEDED.sub(f"NEEDED: Final = {former + 1}", text))
    migration = folder / "migrations" / "versions" / f"{former + 1:04}_next.py"
    migration.write_text(MIGRATION.format(revision=f"{former + 1:04}", former=f"{former:04}"))
    return migration


if __name__ == "__main__":
    sys.stdout.write(f"wrote {write(Path(sys.argv[1]))}\n")
