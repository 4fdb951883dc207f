"""kubectl and helm, as a person would call them."""

import asyncio
import contextlib
import json
import os
import re
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")
FORWARD_SECONDS = 20
COMMAND_SECONDS = 900

type Object = dict[str, Any]


class CommandError(AssertionError):
    """A command ended with another code than 0; the message holds what it said."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A namespace of a cluster.

    Attributes:
        kubectl_path: The kubectl to use.
        helm_path: The helm to use.
        kubeconfig: The cluster's access file.
        namespace: The namespace that everything happens in.
    """

    kubectl_path: Path
    helm_path: Path
    kubeconfig: str
    namespace: str

    async def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace and return what it printed.

        Raises:
            CommandError: if it fails.
        """
        return await self._run(self.kubectl_path, *words, stdin=stdin)

    async def helm(self, *words: str, stdin: str | None = None) -> str:
        """Run helm in the namespace and return what it printed.

        Raises:
            CommandError: if it fails.
        """
        return await self._run(self.helm_path, *words, stdin=stdin)

    async def start_helm(self, *words: str, stdin: str) -> Process:
        """Start helm, tell it something, and do not wait for it."""
        process = await self._start(self.helm_path, *words, stdin=True)
        assert process.stdin is not None
        process.stdin.write(stdin.encode())
        process.stdin.close()
        return process

    async def get(self, kind: str, *words: str) -> list[Object]:
        """Return objects of a kind."""
        found: list[Object] = json.loads(await self.kubectl("get", kind, "--output=json", *words))["items"]
        return found

    async def apply(self, *objects: Object) -> None:
        """Apply objects."""
        await self.kubectl("apply", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    async def pods(self, release: str, *components: str) -> list[Object]:
        """Return the pods of a release that nothing ends yet: of some components, or all."""
        selector = f"app.kubernetes.io/instance={release}" + (
            f",app.kubernetes.io/component in ({','.join(components)})" if components else ""
        )
        return [pod for pod in await self.get("pods", f"--selector={selector}") if "deletionTimestamp" not in pod["metadata"]]

    async def python(self, pod: str, program: str, *arguments: str) -> Any:
        """Run a Python program in a pod and return the JSON it printed."""
        return json.loads(await self.kubectl("exec", pod, "--", "python", "-c", program, *arguments))

    @asynccontextmanager
    async def forward(self, target: str, port: int) -> AsyncGenerator[int]:
        """Make a port of a pod or service reachable at 127.0.0.1 for the length of the block; yields its port there."""
        process = await self._start(self.kubectl_path, "port-forward", target, f":{port}")
        assert process.stdout is not None
        try:
            async with asyncio.timeout(FORWARD_SECONDS):
                line = (await process.stdout.readline()).decode()
            forwarding = FORWARDING.search(line)
            if forwarding is None:
                raise CommandError(f"kubectl port-forward {target}: {line}")
            yield int(forwarding.group(1))
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

    async def _start(self, program: Path, *words: str, stdin: bool = False) -> Process:
        command = (str(program), "--namespace", self.namespace, *words)
        environment = os.environ | {"KUBECONFIG": self.kubeconfig}
        return await asyncio.create_subprocess_exec(*command, stdin=PIPE if stdin else DEVNULL, stdout=PIPE, stderr=STDOUT, env=environment)

    async def _run(self, program: Path, *words: str, stdin: str | None = None) -> str:
        process = await self._start(program, *words, stdin=stdin is not None)
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                output, _ = await process.communicate(stdin.encode() if stdin is not None else None)
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
        if process.returncode != 0:
            raise CommandError(f"{program.name} {' '.join(words)[:300]}\n{output.decode()}")
        return output.decode()


def name(found: Object) -> str:
    """Return an object's name."""
    return str(found["metadata"]["name"])


def component(found: Object) -> str:
    """Return the component that an object is of."""
    return str(found["metadata"]["labels"]["app.kubernetes.io/component"])


def is_ready(pod: Object) -> bool:
    """Say whether a pod is ready."""
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))


async def eventually(ask: Callable[[], Awaitable[bool]], seconds: float, pause: float = 0.5) -> float:
    """Ask the cluster again and again until it says yes; return the seconds it took.

    Raises:
        TimeoutError: if it does not in time.
    """
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not await ask():  # noqa: ASYNC110  # a cluster is asked, it does not tell
            await asyncio.sleep(pause)
    return time.monotonic() - began
