"""What the platform around the service asks: is it alive, ready, started."""

from typing import Final

from loadtests.scenarios.visit import Visit, equals

CALLS: Final = ("GET /", "GET /health/live", "GET /health/ready", "GET /health/startup")


def run(visit: Visit) -> None:
    """Ask for the service's health, as a load balancer does: without a token."""
    visit.ask("GET /health/live", token="", check=equals(status="ok"))
    visit.ask("GET /health/ready", token="", check=equals(status="ok"))
    visit.ask("GET /health/startup", token="", check=equals(status="ok"))
    visit.ask("GET /", token="", check=equals(message="API is running"))
