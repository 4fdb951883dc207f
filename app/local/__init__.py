"""The service on one machine: embedded servers and the supervisor behind ``make run``.

Nothing in the service imports this package, and no image contains it.
"""
