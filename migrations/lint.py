"""Finds DDL that would lock out a running service or break the release before: ``python -m migrations.lint``.

Each migration is run without a database, and the SQL it would send is read. What is wanted nevertheless is accepted by a
comment in the migration that names the rule and says why: ``# accepted: drop-column: unused since release 1.4``.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from io import StringIO
from pathlib import Path
from typing import Final, NamedTuple

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

VERSIONS: Final = Path(__file__).parent / "versions"
NAME: Final = r'"?(?:\w+"?\."?)?(?P<table>\w+)"?'
ALTER: Final = rf"^ALTER TABLE (?:IF EXISTS )?(?:ONLY )?{NAME} .*?"
VOLATILE: Final = r"(?:clock_timestamp|timeofday|random|gen_random_uuid|nextval|uuidv[47])\s*\("


class Rule(NamedTuple):
    """A statement that harms.

    Attributes:
        name: What an ``accepted`` comment calls it.
        pattern: The statement, with the group ``table`` where one that the same migration created does no harm.
        remedy: Why it harms and what to write instead.
    """

    name: str
    pattern: re.Pattern[str]
    remedy: str


def _rule(name: str, pattern: str, remedy: str) -> Rule:
    return Rule(name, re.compile(pattern, re.IGNORECASE | re.DOTALL), remedy)


RULES: Final = (
    _rule(
        "blocking-index",
        rf"^CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY).*? ON (?:ONLY )?{NAME}",
        "writes wait until the index is built; use postgresql_concurrently=True within autocommit_block()",
    ),
    _rule(
        "blocking-drop-index",
        r"^DROP INDEX (?!CONCURRENTLY)",
        "queries wait for the lock; use postgresql_concurrently=True within autocommit_block()",
    ),
    _rule(
        "required-column",
        rf"{ALTER}\bADD (?:COLUMN )?(?!CONSTRAINT\b)(?!.*\bDEFAULT\b)(?!.*\bGENERATED\b).*\bNOT NULL\b",
        "the release before inserts without it; make it nullable or give it a constant default",
    ),
    _rule(
        "rewriting-column",
        rf"{ALTER}\bADD (?:COLUMN )?(?!CONSTRAINT\b).*(?:\bDEFAULT\b.*{VOLATILE}|\bGENERATED\b|\b(?:BIG|SMALL)?SERIAL\b)",
        "the table is rewritten under an exclusive lock; add it nullable, fill it in batches by a task",
    ),
    _rule(
        "column-type",
        rf"{ALTER}\bALTER (?:COLUMN )?\S+ (?:SET DATA )?TYPE\b",
        "the table is rewritten under an exclusive lock; add a column, copy, switch, drop",
    ),
    _rule(
        "set-not-null",
        rf"{ALTER}\bALTER (?:COLUMN )?\S+ SET NOT NULL",
        "the table is scanned under an exclusive lock; add CHECK (... IS NOT NULL) NOT VALID, validate it, then set it",
    ),
    _rule(
        "validating-constraint",
        rf"{ALTER}\bADD (?:CONSTRAINT \S+ )?(?:CHECK|FOREIGN KEY)\b(?!.*\bNOT VALID\b)",
        "the table is scanned while writes wait; add it NOT VALID, VALIDATE it in the next migration",
    ),
    _rule(
        "inline-reference",
        rf"{ALTER}\bADD (?:COLUMN )?(?!(?:CONSTRAINT|FOREIGN|CHECK|PRIMARY|UNIQUE|EXCLUDE)\b).*\b(?:REFERENCES|CHECK|UNIQUE|PRIMARY KEY)\b",
        "a constraint beside a new column is checked at once; add it by itself, NOT VALID or USING INDEX",
    ),
    _rule(
        "indexing-constraint",
        rf"{ALTER}\bADD (?:CONSTRAINT \S+ )?(?:UNIQUE|PRIMARY KEY|EXCLUDE)\b(?!.*\bUSING INDEX\b)",
        "its index is built under an exclusive lock; build the index concurrently, then ADD CONSTRAINT ... USING INDEX",
    ),
    _rule(
        "drop-column",
        rf"{ALTER}\bDROP (?:COLUMN )?(?!CONSTRAINT\b|NOT\b|DEFAULT\b|IDENTITY\b|EXPRESSION\b)",
        "the release before still reads it; drop it a release after its last use",
    ),
    _rule("drop-table", rf"^DROP TABLE (?:IF EXISTS )?{NAME}", "the release before still uses it; drop it a release after its last use"),
    _rule(
        "rename",
        rf"{ALTER}\bRENAME\b|^ALTER (?:INDEX|SEQUENCE|TYPE|VIEW) .*\bRENAME\b",
        "the release before knows the old name; add the new one, copy, drop later",
    ),
    _rule(
        "mass-change",
        rf"^(?:UPDATE (?:ONLY )?{NAME}|DELETE FROM (?:ONLY )?\S+|TRUNCATE )",
        "rows stay locked until the migration ends; change them in batches by a task",
    ),
    _rule("table-lock", r"^(?:LOCK |CLUSTER\b|VACUUM FULL|REINDEX (?!.*CONCURRENTLY))", "everybody waits"),
    _rule(
        "lock-timeout",
        r"^SET (?:LOCAL |SESSION )?lock_timeout",
        "migrations wait 3 s for a lock and try again; nobody may queue behind them for longer",
    ),
)
CREATED: Final = re.compile(rf"^CREATE TABLE (?:IF NOT EXISTS )?{NAME}", re.IGNORECASE)
CONCURRENT: Final = re.compile(r"^(?:CREATE (?:UNIQUE )?INDEX|DROP INDEX|REINDEX.*) CONCURRENTLY", re.IGNORECASE)
#: Bodies of functions run later, and hold semicolons of their own.
QUOTED: Final = re.compile(r"\$(\w*)\$.*?\$\1\$", re.DOTALL)
ACCEPTED: Final = re.compile(r"#\s*accepted:\s*([\w-]+):\s*\S", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """A statement of a migration that breaks a rule."""

    migration: str
    rule: str
    statement: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.migration}: {self.rule}: {self.statement[:120]}\n    {self.remedy}"


@dataclass(slots=True)
class _State:
    created: set[str] = field(default_factory=set[str])
    in_transaction: bool = True


def statements(path: Path) -> list[str]:
    """Return what a migration's ``upgrade`` would send, statement by statement, ``COMMIT`` and ``BEGIN`` included."""
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    out = StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": out, "transactional_ddl": True})
    with redirect_stderr(StringIO()), context.begin_transaction(), Operations.context(context):
        module.upgrade()
    sent = QUOTED.sub("$$...$$", out.getvalue())
    return [" ".join(part.split()) for part in re.split(r";[ \t]*(?:\n|$)", sent) if part.strip()]


def check(migration: str, sent: Sequence[str], accepted: frozenset[str] = frozenset()) -> list[Finding]:
    """Return the statements that break a rule.

    Args:
        migration: Its name.
        sent: Its statements.
        accepted: Rules that it may break.
    """
    state = _State()
    found: list[Finding] = []
    for statement in sent:
        if statement.upper() in {"BEGIN", "COMMIT"}:
            state.in_transaction = statement.upper() == "BEGIN"
        elif created := CREATED.match(statement):
            state.created.add(created["table"])
        found += [Finding(migration, rule, statement, remedy) for rule, remedy in _broken(statement, state) if rule not in accepted]
    return found


def _broken(statement: str, state: _State) -> Iterator[tuple[str, str]]:
    if CONCURRENT.match(statement) and state.in_transaction:
        yield "concurrently-in-transaction", "PostgreSQL refuses it; wrap it in `with op.get_context().autocommit_block():`"
    for rule in RULES:
        match = rule.pattern.match(statement)
        if match is not None and match.groupdict().get("table") not in state.created:
            yield rule.name, rule.remedy


def check_file(path: Path) -> list[Finding]:
    """Return the statements of a migration that break a rule and are not accepted."""
    accepted = frozenset(ACCEPTED.findall(path.read_text(encoding="utf-8")))
    return check(path.name, statements(path), accepted)


def main(paths: Sequence[str]) -> int:
    """Check the migrations given, else all of them; print what is found and return the exit status."""
    chosen = [Path(path) for path in paths] or sorted(VERSIONS.glob("*.py"))
    found = [finding for path in chosen for finding in check_file(path)]
    for finding in found:
        print(finding)  # noqa: T201  # the linter's answer
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
