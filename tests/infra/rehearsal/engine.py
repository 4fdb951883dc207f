"""The engine of Pulumi: its command line, driven by the Automation API on a backend of files."""

import json
import shutil
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil
from pulumi import automation as auto
from pulumi.automation import errors

PROJECT: Final = "fastapi-platform"
PASSPHRASE: Final = "only for the rehearsal"  # of a state that is thrown away
DEPLOYMENT_VERSION: Final = 3
SAME: Final = frozenset({"same"})

type Program = Callable[[], None]


def installed() -> str | None:
    """Return where `pulumi` is on the PATH, if it is."""
    return shutil.which("pulumi")


@dataclass(slots=True)
class Outcome:
    """What became of a run.

    Args:
        operations: What was done, by URN: ``same``, ``create``, ``update``, ``replace``...
        differing: Properties that made a difference, by URN.
        output: Everything that was printed.
        failed: Whether the engine gave up, or was killed.
    """

    operations: dict[str, str] = field(default_factory=dict[str, str])
    differing: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    output: str = ""
    failed: bool = False

    def changed(self) -> dict[str, str]:
        """Return the operations that are not ``same``."""
        return {urn: operation for urn, operation in self.operations.items() if operation not in SAME}


class Engine:
    """One stack.

    Args:
        folder: An empty folder, for the state and for everything that the engine wants to keep.
        stage: The stack's name.
        providers: What `PULUMI_DEBUG_PROVIDERS` shall be.
        secrets: Secret values of the stack's configuration, by their full keys.
    """

    def __init__(self, folder: Path, stage: str, providers: str, secrets: Mapping[str, str]) -> None:
        state, work, home = folder / "state", folder / "work", folder / "home"
        for place in (state, work, home):
            place.mkdir()
        self.state = state
        self._folder = folder
        settings = auto.ProjectSettings(name=PROJECT, runtime="python", backend=auto.ProjectBackend(url=f"file://{state}"))
        environment = {
            "PULUMI_HOME": str(home),
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_DEBUG_PROVIDERS": providers,
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        options = auto.LocalWorkspaceOptions(work_dir=str(work), project_settings=settings, env_vars=environment)
        self._stack = auto.create_stack(stage, project_name=PROJECT, program=_nothing, opts=options)
        if secrets:
            self._stack.set_all_config({key: auto.ConfigValue(value, secret=True) for key, value in secrets.items()})

    def preview(self, program: Program) -> Outcome:
        """Say what `up` would do."""
        return self._run(partial(self._stack.preview, program=program))

    def up(self, program: Program, *, replace: list[str] | None = None, target: list[str] | None = None) -> Outcome:
        """Make the stack, or some resources of it, what the program says."""
        return self._run(partial(self._stack.up, program=program, replace=replace, target=target))

    def destroy(self) -> Outcome:
        """Delete everything."""
        return self._run(self._stack.destroy)

    def resources(self) -> list[dict[str, Any]]:
        """Return the resources of the state."""
        return self.deployment().get("resources", [])

    def deployment(self) -> dict[str, Any]:
        """Return the state, secrets encrypted."""
        return dict(json.loads(self.command("stack", "export"))["deployment"])

    def replace(self, deployment: dict[str, Any]) -> None:
        """Put an edited state in the place of the state."""
        file = self._folder / "edited.json"
        file.write_text(json.dumps({"version": DEPLOYMENT_VERSION, "deployment": deployment}), encoding="utf-8")
        self.command("stack", "import", "--file", str(file))
        file.unlink()

    def command(self, *arguments: str) -> str:
        """Run another command of Pulumi on the stack, and return what it printed."""
        workspace = self._stack.workspace
        given = [*arguments, "--stack", self._stack.name]
        return workspace.pulumi_command.run(given, workspace.work_dir, workspace.env_vars).stdout

    def _run(self, act: Callable[..., Any]) -> Outcome:
        outcome, lines = Outcome(), list[str]()

        def note(event: Any) -> None:
            data = event.resource_pre_event
            if data is not None and data.metadata.type != "pulumi:pulumi:Stack":
                outcome.operations[data.metadata.urn] = str(data.metadata.op.value)
                outcome.differing[data.metadata.urn] = sorted(data.metadata.diffs or [])

        try:
            act(on_output=lines.append, on_error=lines.append, on_event=note, color="never")
        except errors.CommandError as error:
            outcome.failed = True
            if not lines:
                lines.append(str(error))
        outcome.output = "\n".join(lines)
        return outcome


def repair(state: Path) -> int:
    """Take away what a killed engine left half written, and return how many files that were.

    A backend of files keeps attributes of each file in another beside it. The file itself is written elsewhere and renamed, and so is
    always whole; the attributes are not. Without them the engine goes on, with half of them it says `failed to load checkpoint: EOF`.

    Args:
        state: The backend's folder.
    """
    broken = [file for file in state.rglob("*.attrs") if not _is_json(file)]
    for file in broken:
        file.unlink()
    return len(broken)


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_bytes())
    except ValueError:
        return False
    return True


def kill() -> None:
    """Kill the engine that this process started, in the middle of what it does."""
    for child in psutil.Process().children():
        if child.name() == "pulumi":
            child.kill()


@contextmanager
def ending() -> Generator[None]:
    """Leave no engine behind, however this process ends."""
    try:
        yield
    finally:
        kill()


def _nothing() -> None:
    """A program without resources."""


@contextmanager
def folder() -> Generator[Path]:
    """Give a temporary folder that goes with everything in it."""
    with tempfile.TemporaryDirectory(prefix="platform-rehearsal-") as name:
        yield Path(name)
