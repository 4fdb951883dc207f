"""What a run is told: the cluster, the images, the ingress. Nothing is guessed, so that no cluster is touched by accident."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

NEEDED = ("KUBECONFIG", "E2E_IMAGE", "E2E_IMAGE_NEXT", "E2E_INGRESS_URL", "E2E_INGRESS_CLASS", "E2E_INGRESS_NAMESPACE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the environment says.

    Attributes:
        kubeconfig: The cluster to use.
        image: The release, ``NAME:TAG``, loaded in the cluster.
        image_next: The release after it, with one more migration.
        image_support: S3 and SMTP for the service; empty for none.
        ingress_url: Where the ingress controller listens.
        ingress_class: Its class.
        ingress_namespace: Its namespace.
        ingress_labels: Labels of its pods; empty for all pods of its namespace.
        helm: The helm to use: ``helm3`` or ``helm4``.
        rate: Requests a second during upgrade and rollback.
        report: File for the figures; empty for none.
        keep: Leave the namespace for a look.
    """

    kubeconfig: str
    image: str
    image_next: str
    image_support: str
    ingress_url: str
    ingress_class: str
    ingress_namespace: str
    ingress_labels: Mapping[str, str]
    helm: str
    rate: float
    report: str
    keep: bool


def missing(variables: Mapping[str, str] = os.environ) -> str | None:
    """Return why there is no cluster to use, or nothing."""
    if variables.get("E2E") != "1":
        return "set E2E=1, KUBECONFIG and what tests/e2e/README.md names: a cluster is used only when it is asked for"
    absent = [name for name in NEEDED if not variables.get(name)]
    return f"set {', '.join(absent)}; see tests/e2e/README.md" if absent else None


def read(variables: Mapping[str, str] = os.environ) -> Environment:
    """Return what the environment says.

    Raises:
        ValueError: if the ingress is not on this machine or in a private network: load goes nowhere else.
    """
    url = variables["E2E_INGRESS_URL"].rstrip("/")
    if not ip_address(address(url)).is_private:
        raise ValueError(f"E2E_INGRESS_URL ({url}) is neither a loopback nor a private address; load is sent to no other.")
    labels = variables.get("E2E_INGRESS_LABELS", "")
    return Environment(
        kubeconfig=variables["KUBECONFIG"],
        image=variables["E2E_IMAGE"],
        image_next=variables["E2E_IMAGE_NEXT"],
        image_support=variables.get("E2E_SUPPORT_IMAGE", ""),
        ingress_url=url,
        ingress_class=variables["E2E_INGRESS_CLASS"],
        ingress_namespace=variables["E2E_INGRESS_NAMESPACE"],
        ingress_labels=dict(label.split("=", 1) for label in labels.split(",") if label),
        helm=variables.get("E2E_HELM", "helm4"),
        rate=float(variables.get("E2E_RATE", "70")),
        report=variables.get("E2E_REPORT", ""),
        keep=variables.get("E2E_KEEP") == "1",
    )


def address(url: str) -> str:
    """Return the IPv4 address of a URL's host."""
    host = urlsplit(url).hostname
    if host is None:
        raise ValueError(f"{url} is no URL with a host, such as http://127.0.0.1:8080.")
    return socket.gethostbyname(host)
