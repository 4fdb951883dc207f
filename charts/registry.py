"""The image's way into the registry: ``python3 -m charts.registry COMMAND``, which the Makefile's targets call.

It needs docker, the AWS CLI signed in, and nothing else. Tags in the registry never move, so a commit is pushed once: who comes
again, such as a workflow that is repeated, gets the digest of what is there.
"""

import argparse
import re
import subprocess
import sys
from typing import NamedTuple

REPOSITORY = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/(?P<name>[a-z0-9/_.-]+)")
PROMOTED = "promoted-"


class RegistryError(Exception):
    """The registry was not reached, or refused. The message is the sentence that its user reads."""


class Repository(NamedTuple):
    """A repository of ECR."""

    account: str
    region: str
    name: str

    @property
    def words(self) -> tuple[str, ...]:
        """The options that name it to the AWS CLI."""
        return ("--registry-id", self.account, "--region", self.region, "--repository-name", self.name)


def repository(url: str) -> Repository:
    """Return what a URL such as Pulumi's ``repositoryUrl`` names.

    Raises:
        RegistryError: if it names no repository of ECR.
    """
    if (found := REPOSITORY.fullmatch(url)) is None:
        raise RegistryError(f"REPOSITORY={url} is no repository of ECR; `pulumi stack output repositoryUrl` says which is.")
    return Repository(**found.groupdict())


def run(*command: str, given: str | None = None) -> str:
    """Run a command, hand it a text, and return what it printed.

    Raises:
        RegistryError: if it failed, with what it said.
    """
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RegistryError(f"`{' '.join(command[:3])}` failed: {done.stderr.strip()}")
    return done.stdout.removesuffix("\n")


def digest_of(where: Repository, tag: str) -> str | None:
    """Return the digest that a tag names, if it is there."""
    query = ("--image-ids", f"imageTag={tag}", "--query", "imageDetails[0].imageDigest", "--output", "text")
    try:
        return run("aws", "ecr", "describe-images", *where.words, *query)
    except RegistryError as error:
        if "ImageNotFoundException" in str(error):
            return None
        raise


def push(image: str, url: str, tag: str) -> str:
    """Push an image that was built here, unless its tag is there, and return its digest.

    Args:
        image: Its name with docker.
        url: The repository.
        tag: What it is called there.
    """
    where = repository(url)
    if (there := digest_of(where, tag)) is not None:
        sys.stderr.write(f"{tag} is in the registry already; it stays what it is.\n")
        return there
    password = run("aws", "ecr", "get-login-password", "--region", where.region)
    run("docker", "login", "--username", "AWS", "--password-stdin", url.partition("/")[0], given=password)
    run("docker", "tag", image, f"{url}:{tag}")
    run("docker", "push", f"{url}:{tag}")
    if (pushed := digest_of(where, tag)) is None:
        raise RegistryError(f"{url}:{tag} was pushed, and is not there.")
    return pushed


def promote(url: str, tag: str, digest: str) -> str:
    """Give an image that passed the gate a second tag, and return that.

    Args:
        url: The repository.
        tag: The commit.
        digest: Of the image that passed.

    Raises:
        RegistryError: if another image has the tag.
    """
    where, promoted = repository(url), f"{PROMOTED}{tag}"
    if (there := digest_of(where, promoted)) is not None:
        if there != digest:
            raise RegistryError(f"{promoted} names {there} already, not {digest}.")
        return promoted
    image = ("--image-ids", f"imageDigest={digest}", "--output", "text", "--query")
    manifest = run("aws", "ecr", "batch-get-image", *where.words, *image, "images[0].imageManifest")
    kind = run("aws", "ecr", "batch-get-image", *where.words, *image, "images[0].imageManifestMediaType")
    words = ("--image-tag", promoted, "--image-digest", digest, "--image-manifest-media-type", kind, "--image-manifest", manifest)
    run("aws", "ecr", "put-image", *where.words, *words)
    return promoted


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="python3 -m charts.registry", description=__doc__)
    commands = made.add_subparsers(dest="command", required=True)
    for command, names in {"push": ("image", "url", "tag"), "promote": ("url", "tag", "digest")}.items():
        words = commands.add_parser(command)
        for name in names:
            words.add_argument(f"--{name}", required=True)
    return made


def main(arguments: list[str]) -> int:
    """Run a command and return its exit code."""
    given = vars(parser().parse_args(arguments))
    command = given.pop("command")
    try:
        print(f"digest={push(**given)}" if command == "push" else f"promoted={promote(**given)}")
    except RegistryError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
