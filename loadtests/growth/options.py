"""What the command line asks for, and whether this machine has room for it."""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.bench.errors import BenchError

#: What is measured at, unless a smaller largest size is asked for.
SIZES: Final = {
    "rows": (1_000, 100_000, 10_000_000),
    "sockets": (1, 10, 100, 1_000, 5_000),
    "processes": (1, 2, 4, 8),
    "backlog": (1_000, 10_000, 100_000),
}
#: An item with its indexes, and the files in which they are sorted while they are built.
ITEM_BYTES: Final = 1_000
#: The write-ahead log between two checkpoints, programs and logs.
OTHER_BYTES: Final = 6 * 10**9
GB: Final = 10**9


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for.

    Attributes:
        sizes: What each curve is measured at, by the curve's key; only those that are asked for.
        seconds: Length of each measurement of requests.
        write_docs: Whether to write the page of the reference, its plots and figures.
        page_only: Whether to write the page anew from the figures that are there.
    """

    sizes: dict[str, tuple[int, ...]]
    seconds: float = 2
    write_docs: bool = False
    page_only: bool = False


def options(arguments: Sequence[str] | None = None) -> Options:
    """Return what the command line asks for; ends the program where that makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.growth", description="How cost grows, as curves.")
    for name, sizes in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=sizes[-1], help=f"largest size of the curve ({sizes[-1]:,}), {sizes[0]} or more")
    parser.add_argument("--only", default=",".join(SIZES), help=f"curves, comma separated ({','.join(SIZES)})")
    parser.add_argument("--seconds", type=float, default=2, help="length of each measurement of requests (2)")
    parser.add_argument(
        "--write-docs", action="store_true", help="write docs/reference/growth.md, its plots and figures; curves not measured stay"
    )
    parser.add_argument("--page-only", action="store_true", help="measure nothing: write the page from the figures that are there")
    given = parser.parse_args(arguments)
    only = [name for name in given.only.split(",") if name]
    if unknown := set(only) - set(SIZES):
        parser.error(f"there is no curve {', '.join(sorted(unknown))}; there are {', '.join(SIZES)}")
    for name, sizes in SIZES.items():
        if getattr(given, name) < sizes[0]:
            parser.error(f"--{name} must be {sizes[0]:,} or more")
    if given.seconds <= 0:
        parser.error("--seconds must be positive")
    return Options({name: up_to(SIZES[name], getattr(given, name)) for name in only}, given.seconds, given.write_docs, given.page_only)


def up_to(sizes: Sequence[int], largest: int) -> tuple[int, ...]:
    """Return the sizes below ``largest``, and that."""
    return (*(size for size in sizes if size < largest), largest)


def require_room(folder: Path, rows: int) -> None:
    """Make sure that so many items fit where the servers keep their data.

    Args:
        folder: Where that is.
        rows: Items.

    Raises:
        BenchError: if they do not, with what would.
    """
    needed, free = rows * ITEM_BYTES + OTHER_BYTES, shutil.disk_usage(folder).free
    if free < needed:
        fitting = max(SIZES["rows"][0], (free - OTHER_BYTES) // ITEM_BYTES // 2)
        raise BenchError(
            f"{rows:,} items need {needed / GB:.1f} GB of disk, and {folder} has {free / GB:.1f} GB free. "
            f"Free some, set TMPDIR to another disk, or ask for fewer: --rows {fitting}"
        )
