"""gunicorn's own messages, from the first to the last, as everybody else's."""

from typing import Any, override

from gunicorn import glogging

from app.core.config import get_settings
from app.core.logging import configure_logging


class Logger(glogging.Logger):  # type: ignore[misc]  # its package has no types
    """Sends what gunicorn says through the service's log."""

    @override
    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        settings = get_settings()
        configure_logging(settings.LOG_LEVEL, environment=settings.ENVIRONMENT)
