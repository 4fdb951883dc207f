"""What goes wrong with the stack in a way its user can mend."""

#: Exit status of ``app.local.prepare`` when the settings do not hold.
INVALID_SETTINGS = 3


class StackError(Exception):
    """The stack cannot start or go on.

    Args:
        problem: what is wrong.
        remedy: what to do about it.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy
