"""File descriptors: every connection takes one, and the usual limit is about a thousand."""

import logging
import resource

logger = logging.getLogger(__name__)


def allow_descriptors(count: int) -> None:
    """Raise this process's limit of open files to ``count``, or as far as the system lets it.

    Args:
        count: Descriptors the process may come to need.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < count:
        logger.warning(
            "open files are limited to %d, of %d that may be needed; raise the limit (ulimit -Hn) or lower the setting", hard, count
        )
