import subprocess
import sys
from pathlib import Path

import pytest

from migrations.lint import check, check_file, main

HEADER = "import sqlalchemy as sa\nfrom alembic import op\nrevision = '0002'\ndown_revision = '0001'\n\ndef upgrade():\n"


def rules(*sent: str) -> list[str]:
    return [finding.rule for finding in check("0002_x.py", ["BEGIN", *sent, "COMMIT"])]


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("CREATE INDEX ix_items_x ON items (x)", "blocking-index"),
        ("CREATE UNIQUE INDEX uq_items_x ON public.items USING btree (x)", "blocking-index"),
        ("DROP INDEX ix_items_x", "blocking-drop-index"),
        ("ALTER TABLE items ADD COLUMN x TEXT NOT NULL", "required-column"),
        ('ALTER TABLE "items" ADD x TEXT NOT NULL', "required-column"),
        ("ALTER TABLE items ADD COLUMN x UUID DEFAULT gen_random_uuid() NOT NULL", "rewriting-column"),
        ("ALTER TABLE items ADD COLUMN x TIMESTAMP DEFAULT clock_timestamp()", "rewriting-column"),
        ("ALTER TABLE items ADD COLUMN x INTEGER GENERATED ALWAYS AS (version * 2) STORED", "rewriting-column"),
        ("ALTER TABLE items ADD COLUMN x BIGSERIAL", "rewriting-column"),
        ("ALTER TABLE items ALTER COLUMN title TYPE VARCHAR(10)", "column-type"),
        ("ALTER TABLE items ALTER COLUMN title SET DATA TYPE TEXT", "column-type"),
        ("ALTER TABLE items ALTER COLUMN description SET NOT NULL", "set-not-null"),
        ("ALTER TABLE items ADD CONSTRAINT ck_items_x CHECK (x > 0)", "validating-constraint"),
        ("ALTER TABLE items ADD CONSTRAINT fk_items_x FOREIGN KEY(x) REFERENCES users (id)", "validating-constraint"),
        ("ALTER TABLE items ADD COLUMN x BIGINT REFERENCES users (id)", "inline-reference"),
        ("ALTER TABLE items ADD COLUMN x BIGINT CHECK (x > 0)", "inline-reference"),
        ("ALTER TABLE items ADD CONSTRAINT uq_items_x UNIQUE (x)", "indexing-constraint"),
        ("ALTER TABLE items ADD PRIMARY KEY (x)", "indexing-constraint"),
        ("ALTER TABLE items DROP COLUMN x", "drop-column"),
        ("ALTER TABLE items DROP x", "drop-column"),
        ("DROP TABLE items", "drop-table"),
        ("ALTER TABLE items RENAME TO things", "rename"),
        ("ALTER TABLE items RENAME COLUMN x TO y", "rename"),
        ("ALTER INDEX ix_a RENAME TO ix_b", "rename"),
        ("UPDATE items SET x = 1", "mass-change"),
        ("DELETE FROM items", "mass-change"),
        ("TRUNCATE items", "mass-change"),
        ("LOCK TABLE items", "table-lock"),
        ("REINDEX TABLE items", "table-lock"),
        ("SET lock_timeout = '1h'", "lock-timeout"),
        ("CREATE INDEX CONCURRENTLY ix_items_x ON items (x)", "concurrently-in-transaction"),
    ],
)
def test_a_harmful_statement_breaks_its_rule(statement: str, rule: str) -> None:
    assert rules(statement) == [rule]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE things (id BIGINT NOT NULL, CONSTRAINT pk_things PRIMARY KEY (id))",
        "ALTER TABLE items ADD COLUMN x TEXT",
        "ALTER TABLE items ADD COLUMN x TEXT DEFAULT '' NOT NULL",
        "ALTER TABLE items ADD COLUMN x TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL",
        "ALTER TABLE items ADD CONSTRAINT ck_items_x CHECK (x > 0) NOT VALID",
        "ALTER TABLE items ADD CONSTRAINT fk_items_x FOREIGN KEY(x) REFERENCES users (id) NOT VALID",
        "ALTER TABLE items ADD CONSTRAINT uq_items_x UNIQUE USING INDEX ix_items_x",
        "ALTER TABLE items VALIDATE CONSTRAINT ck_items_x",
        "ALTER TABLE items DROP CONSTRAINT ck_items_x",
        "ALTER TABLE items ALTER COLUMN x DROP NOT NULL",
        "ALTER TABLE items ALTER COLUMN x DROP DEFAULT",
        "ALTER TABLE items ALTER COLUMN x SET DEFAULT 1",
        "INSERT INTO things (x) VALUES (1)",
        "CREATE EXTENSION IF NOT EXISTS btree_gin",
        "COMMENT ON COLUMN items.x IS 'ALTER TABLE items DROP COLUMN x'",
    ],
)
def test_a_harmless_statement_passes(statement: str) -> None:
    assert rules(statement) == []


def test_a_table_made_by_the_same_migration_may_be_changed_as_one_likes() -> None:
    made = "CREATE TABLE things (id BIGINT)"
    change = (
        "CREATE INDEX ix_things_x ON things (x)",
        "ALTER TABLE things ADD CONSTRAINT uq_things_x UNIQUE (x)",
        "UPDATE things SET x = 1",
    )
    assert rules(made, *change) == []
    assert len(rules(*change)) == 3


def test_an_index_is_built_concurrently_outside_of_the_transaction() -> None:
    assert check("x", ["BEGIN", "COMMIT", "CREATE INDEX CONCURRENTLY ix_items_x ON items (x)", "BEGIN", "COMMIT"]) == []


def migration(folder: Path, body: str) -> Path:
    path = folder / "0002_x.py"
    path.write_text(HEADER + "".join(f"    {line}\n" for line in body.splitlines()))
    return path


def test_a_migration_is_read_as_the_sql_that_it_sends(tmp_path: Path) -> None:
    path = migration(
        tmp_path, "op.add_column('items', sa.Column('x', sa.Text(), nullable=False))\nop.create_index('ix_items_x', 'items', ['x'])"
    )
    assert [finding.rule for finding in check_file(path)] == ["required-column", "blocking-index"]


def test_an_autocommit_block_is_recognised(tmp_path: Path) -> None:
    path = migration(
        tmp_path,
        "with op.get_context().autocommit_block():\n    op.create_index('ix_items_x', 'items', ['x'], postgresql_concurrently=True)",
    )
    assert check_file(path) == []


def test_the_body_of_a_function_is_not_taken_for_statements(tmp_path: Path) -> None:
    path = migration(
        tmp_path,
        "op.execute('''CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\nUPDATE items SET x = 1;\nRETURN NEW;\nEND $$''')",
    )
    assert check_file(path) == []


def test_what_is_accepted_by_name_and_reason_passes(tmp_path: Path) -> None:
    drop = "op.drop_column('items', 'x')"
    assert check_file(migration(tmp_path, f"{drop}  # accepted: drop-column: unused since release 1.4")) == []
    assert [f.rule for f in check_file(migration(tmp_path, f"{drop}  # accepted: drop-column:"))] == ["drop-column"]
    assert [f.rule for f in check_file(migration(tmp_path, f"{drop}  # accepted: drop-table: another"))] == ["drop-column"]


def test_every_migration_of_the_project_passes() -> None:
    assert main([]) == 0


def test_the_command_names_file_rule_and_remedy(tmp_path: Path) -> None:
    path = migration(tmp_path, "op.drop_column('items', 'x')")
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-m", "migrations.lint", path], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("0002_x.py: drop-column: ALTER TABLE items DROP COLUMN x\n    the release before")
