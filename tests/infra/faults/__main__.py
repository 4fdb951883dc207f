"""Makes every mistake and writes what caught it: `python -m tests.infra.faults`."""

import sys

from tests.infra.faults import page
from tests.infra.faults.checks import Result, run
from tests.infra.rehearsal.making.cloud import moto


def main() -> int:
    """Write the page, and return whether something that should be caught was not."""
    with moto() as endpoint:
        results: list[Result] = []
        for number, fault in enumerate(page.FAULTS, start=1):
            results.append(run(fault, endpoint))
            sys.stdout.write(f"{number}/{len(page.FAULTS)} {page.row(results[-1])}\n")
    page.PAGE.write_text(page.page(results))
    missed = [result.fault.says for result in results if bool(result.catches) == bool(result.fault.would_be_caught_by)]
    sys.stdout.write(page.summary(results) + "".join(f"Not as expected: {says}\n" for says in missed))
    return len(missed)


if __name__ == "__main__":
    sys.exit(main())
