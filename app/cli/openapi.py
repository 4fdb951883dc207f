"""``openapi``: prints the API document."""

import sys

import orjson

from app.core.config import Settings
from app.main import create_app

#: The document does not depend on where the database is.
PLACEHOLDER = "postgresql://nowhere/nothing"


def openapi() -> None:
    """Print the OpenAPI document as JSON."""
    settings = Settings.model_validate({"DATABASE_URL": PLACEHOLDER})
    document = create_app(settings).openapi()
    sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
