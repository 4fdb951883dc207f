"""How a run of the gate ends: five exit codes, and the errors that stand for three of them."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes. CI goes on with ``PASS`` and with nothing else."""

    PASS = 0
    FAIL = 1
    INVALID = 2
    HARNESS_ERROR = 3
    REFUSED = 4


WORDS = {
    Exit.PASS: "pass",
    Exit.FAIL: "fail",
    Exit.INVALID: "invalid or inconclusive",
    Exit.HARNESS_ERROR: "harness error",
    Exit.REFUSED: "refused",
}


class GateError(Exception):
    """The gate cannot judge. The message is the sentence that its user reads."""

    code = Exit.HARNESS_ERROR


class RefusedError(GateError):
    """The load may not be sent there, or not at that rate."""

    code = Exit.REFUSED
