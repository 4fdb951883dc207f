"""What `pulumi up` runs: the program with the stage's configuration."""

import sys
from datetime import UTC, datetime
from pathlib import Path

# Pulumi runs this file by its path; the package is found from the repository's root.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pulumi

from infra.config import InvalidConfig, load
from infra.program import deploy

try:
    CONFIG = load(pulumi.Config().require_object("stage"), datetime.now(UTC).date())
except InvalidConfig as error:
    raise pulumi.RunError(str(error)) from None
deploy(CONFIG)
