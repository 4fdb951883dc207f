"""What may go wrong with a benchmark."""


class BenchError(Exception):
    """The benchmark cannot go on, or its figures would mean nothing. The message says why."""
