"""Changes of the code while the stack runs."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch  # pyright: ignore[reportUnknownVariableType]  # one of its options is untyped

from app.local.console import Console
from app.local.place import REPOSITORY

WATCHED = ("app", "migrations")
DEBOUNCE_MS = 400


@dataclass(frozen=True, slots=True)
class CodeChange:
    """Files that changed together."""

    names: list[str]

    @property
    def migrations(self) -> bool:
        """Whether the database has to follow."""
        return any(name.startswith("migrations/") for name in self.names)


_usual = DefaultFilter()


def _matters(change: Change, path: str) -> bool:
    """Tell whether the service would run differently; the supervisor and its servers keep the code they have."""
    return path.endswith(".py") and not path.startswith(str(REPOSITORY / "app" / "local")) and _usual(change, path)


async def changes(console: Console) -> AsyncGenerator[CodeChange]:
    """Yield changes of the code, except those that do not even compile, which are reported."""
    folders = [REPOSITORY / name for name in WATCHED]
    watching: AsyncIterator[set[tuple[Change, str]]] = awatch(*folders, watch_filter=_matters, debounce=DEBOUNCE_MS)
    async for found in watching:
        paths = sorted({Path(path) for _, path in found})
        errors = [error for path in paths if (error := syntax_error(path))]
        for error in errors:
            console.say(f"{error}; the service goes on with the code it has")
        if not errors:
            yield CodeChange([str(path.relative_to(REPOSITORY)) for path in paths])


def syntax_error(path: Path) -> str | None:
    """Return what is wrong with a file's syntax."""
    try:
        compile(path.read_bytes(), path, "exec", dont_inherit=True)
    except FileNotFoundError:
        return None  # deleted
    except (SyntaxError, ValueError) as error:
        return f"{path.relative_to(REPOSITORY)}: {error}"
    return None
