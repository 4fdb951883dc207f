"""Changes of the code: noticed, gathered, and kept from the service while they do not compile."""

import asyncio
import io
from contextlib import aclosing
from pathlib import Path

import pytest

from app.local import reload
from app.local.console import Console
from app.local.reload import CodeChange, changes, syntax_error


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A repository of its own."""
    for folder in ("app/local", "migrations"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(reload, "REPOSITORY", tmp_path)
    return tmp_path


async def next_change(repository: Path, console: Console, *contents: tuple[str, str], seconds: int = 20) -> CodeChange | None:
    """Write files again and again, as the watcher takes a moment to begin, and return the change it reports in time."""
    async with aclosing(changes(console)) as found:
        waiting = asyncio.ensure_future(anext(found))
        for _ in range(seconds):
            for name, content in contents:
                (repository / name).write_text(content)
            if (await asyncio.wait({waiting}, timeout=1))[0]:
                return waiting.result()
        waiting.cancel()
        await asyncio.wait({waiting})
        return None


async def test_files_saved_together_are_one_change(repository: Path, tmp_path: Path) -> None:
    console = Console(tmp_path / "log", io.StringIO())
    change = await next_change(repository, console, ("app/b.py", ""), ("app/a.py", ""), ("app/notes.txt", ""), ("app/local/c.py", ""))
    console.close()
    assert change
    assert change.names == ["app/a.py", "app/b.py"]
    assert not change.migrations


async def test_a_migration_is_told_apart(repository: Path, tmp_path: Path) -> None:
    console = Console(tmp_path / "log", io.StringIO())
    change = await next_change(repository, console, ("migrations/0002_more.py", ""))
    console.close()
    assert change
    assert change.migrations


async def test_a_file_that_does_not_compile_is_reported_and_changes_nothing(repository: Path, tmp_path: Path) -> None:
    console = Console(tmp_path / "log", io.StringIO())
    assert await next_change(repository, console, ("app/broken.py", "def (:"), seconds=3) is None
    console.close()
    assert "app/broken.py: invalid syntax" in (tmp_path / "log").read_text()


def test_a_deleted_file_is_no_syntax_error(repository: Path) -> None:
    assert syntax_error(repository / "app" / "gone.py") is None
