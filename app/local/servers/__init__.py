"""Embedded servers, one module each: how each is prepared, started and asked whether it answers."""

from app.local.servers.program import Program, Running, ServerError, start, wait_until_ready
from app.local.servers.server import Server

__all__ = ["Program", "Running", "Server", "ServerError", "start", "wait_until_ready"]
