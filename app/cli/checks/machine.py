"""The machine: room for uploads on their way and for metrics, and enough open files."""

import resource
import shutil
import tempfile
from typing import Final

from app.cli.checks.result import Result, verdict
from app.core.config import Settings

PART: Final = "Machine"
LEAST_FREE_BYTES: Final = 256 * 2**20
LEAST_OPEN_FILES: Final = 1024


def check_machine(settings: Settings) -> list[Result]:
    """Look at the temporary folder and the limit of open files."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return [
        verdict(
            PART,
            "disk",
            good=free >= max(LEAST_FREE_BYTES, 4 * settings.IMPORT_MAX_BODY_BYTES),
            detail=f"{free // 2**20} MiB free in {folder}",
            remedy="Free some, or set TMPDIR to a larger volume: uploads and metrics pass through it.",
        ),
        verdict(
            PART,
            "open files",
            good=files >= LEAST_OPEN_FILES,
            detail=str(files),
            remedy="Raise `ulimit -n`: every connection and socket takes one.",
            otherwise="warning",
        ),
    ]
