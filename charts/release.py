"""A release as people and workflows make it: ``python3 -m charts.release COMMAND``, which the Makefile's targets call.

It needs helm, a kubeconfig and nothing else: where a release is made, no packages are installed. What another step needs to know is
printed as ``name=value``, which a workflow appends to its outputs.
"""

import argparse
import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

CHART = Path(__file__).parent / "fastapi-platform"
TIMEOUT = "10m"
API_SECONDS = 30
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{40}")


class ReleaseError(Exception):
    """The release cannot be made so. The message is the sentence that its user reads."""


def helm(*words: str) -> None:
    """Run helm, and let what it says be seen on standard error: standard output is for ``name=value``."""
    command = ("helm", *words)
    if (status := subprocess.run(command, stdout=sys.stderr, check=False).returncode) != 0:
        raise ReleaseError(f"`helm {' '.join(words[:2])}` ended with {status}.")


def history(release: str, namespace: str) -> list[dict[str, object]]:
    """Return the revisions of a release, the newest last; none if there is no such release."""
    command = ("helm", "history", release, "--namespace", namespace, "--output", "json")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        if "release: not found" in done.stderr:
            return []
        raise ReleaseError(f"The history of {release} cannot be read: {done.stderr.strip()}")
    revisions: list[dict[str, object]] = json.loads(done.stdout)
    return revisions


def running(release: str, namespace: str) -> str:
    """Return the revision that serves, as text; nothing before the first.

    Raises:
        ReleaseError: if another upgrade is under way, or was killed in the middle.
    """
    revisions = history(release, namespace)
    if revisions and str(revisions[-1]["status"]).startswith("pending"):
        raise ReleaseError(f"Another upgrade of {release} is under way, or was killed: see `helm history {release} -n {namespace}`.")
    return next((str(each["revision"]) for each in reversed(revisions) if each["status"] == "deployed"), "")


def upgrade(release: str, namespace: str, values: str, digest: str, tag: str) -> None:
    """Install or upgrade a release by digest, wait until it is ready, and run its tests.

    Args:
        release: Its name.
        namespace: Where it is.
        values: A file: what Pulumi's ``helmValues`` said.
        digest: Of the image: ``sha256:`` and 64 hexadecimal digits.
        tag: The commit that the image was built from; the service calls it its version.

    Raises:
        ReleaseError: if an argument is none, with nothing changed; if helm failed, and the former revision is to be put back.
    """
    if not DIGEST.fullmatch(digest):
        raise ReleaseError(f"DIGEST={digest} is no digest; give sha256:... as the registry has it.")
    if not COMMIT.fullmatch(tag):
        raise ReleaseError(f"TAG={tag} is no full commit id, so the next comparison would not find its base.")
    if not values or not Path(values).is_file() or not Path(values).read_text(encoding="utf-8").strip():
        raise ReleaseError(f"VALUES={values} is no file with values; `pulumi stack output --json helmValues` writes one.")
    image = f"image.digest={digest},image.tag={tag}"
    words = ("--namespace", namespace, "--values", values, "--set-string", image, "--wait", "--timeout", TIMEOUT)
    helm("upgrade", "--install", release, str(CHART), *words)
    helm("test", release, "--namespace", namespace, "--logs", "--timeout", TIMEOUT)


def rollback(release: str, namespace: str, revision: str) -> None:
    """Go back to a revision and wait until it is ready.

    Raises:
        ReleaseError: if there is none, or helm failed.
    """
    if not revision.isdecimal():
        raise ReleaseError(f"REVISION={revision} is no revision to go back to; `helm history {release} -n {namespace}` lists them.")
    helm("rollback", release, revision, "--namespace", namespace, "--wait", "--timeout", TIMEOUT)


def base(host: str) -> str:
    """Return the commit that a service runs, as its API document says.

    Raises:
        ReleaseError: if it does not answer, or runs something that this checkout does not know.
    """
    if not host.startswith(("https://", "http://")):
        raise ReleaseError(f"HOST={host} is no base URL.")
    try:
        with urllib.request.urlopen(f"{host.rstrip('/')}/api/v1/openapi.json", timeout=API_SECONDS) as answer:  # noqa: S310  # looked at above
            version = str(json.load(answer)["info"]["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReleaseError(f"{host} does not say what it runs ({error}); name the base yourself: BASE=<commit>.") from error
    command = ("git", "cat-file", "-e", f"{version}^{{commit}}")
    if not COMMIT.fullmatch(version) or subprocess.run(command, check=False).returncode != 0:
        raise ReleaseError(f"{host} runs {version}, which is no commit of this checkout; name the base yourself: BASE=<commit>.")
    return version


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="python3 -m charts.release", description=__doc__)
    commands = made.add_subparsers(dest="command", required=True)
    options = {
        "running": ("release", "namespace"),
        "upgrade": ("release", "namespace", "values", "digest", "tag"),
        "rollback": ("release", "namespace", "revision"),
        "base": ("host",),
    }
    for command, names in options.items():
        words = commands.add_parser(command)
        for name in names:
            words.add_argument(f"--{name}", required=True)
    return made


def main(arguments: list[str]) -> int:
    """Run a command and return its exit code."""
    given = vars(parser().parse_args(arguments))
    command = given.pop("command")
    try:
        if command == "running":
            print(f"revision={running(**given)}")
        elif command == "base":
            print(f"base={base(**given)}")
        else:
            {"upgrade": upgrade, "rollback": rollback}[command](**given)
    except ReleaseError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
