"""What the chart must know: `pulumi stack output --json helmValues` is a values file, complete and valid against the chart's schema."""

from dataclasses import dataclass
from typing import Any

import pulumi

from infra import capacity
from infra.config import StageConfig

SECRET_STORE = "platform"  # noqa: S105  # its name; the bootstrap runbook makes it
POD_IDENTITY_AGENT = "169.254.170.23/32"


@dataclass(frozen=True, slots=True)
class Made:
    """What was made, as far as the chart refers to it."""

    repository_url: pulumi.Output[str]
    bucket_name: pulumi.Output[str]
    certificate_arn: pulumi.Output[str]
    app_secret_name: pulumi.Output[str]
    migration_secret_name: pulumi.Output[str]


def helm_values(config: StageConfig, made: Made) -> dict[str, Any]:
    """Return the values of the release; only the image's digest is left to who deploys it.

    Args:
        config: The stage.
        made: Its resources.
    """
    service = config.service
    return {
        # Names of ServiceAccounts start with it, and identity.py gives roles to these names.
        "fullnameOverride": service.release,
        "environment": service.environment,
        "image": {"repository": made.repository_url},
        "config": _settings(config, made),
        "secrets": {
            "app": {"remoteKey": made.app_secret_name},
            "migration": {"remoteKey": made.migration_secret_name},
            "store": {"name": SECRET_STORE, "kind": "ClusterSecretStore"},
        },
        "database": {
            "maxConnections": capacity.max_connections(config.database),
            "reservedConnections": capacity.RESERVED_CONNECTIONS,
        },
        "api": {"autoscaling": {"enabled": True, "minReplicas": service.api_min, "maxReplicas": service.api_max}},
        "workers": {
            "main": {"autoscaling": {"kind": "hpa", "minReplicas": min(2, service.main_max), "maxReplicas": service.main_max}},
            "bulk": {"replicas": service.bulk},
        },
        "ingress": {
            "enabled": True,
            "className": "alb",
            "hosts": [config.dns.host],
            "alb": {"certificateArn": made.certificate_arn},
        },
        "networkPolicy": _network_policy(config),
    }


def _settings(config: StageConfig, made: Made) -> dict[str, Any]:
    service = config.service
    settings: dict[str, Any] = {
        "S3_BUCKET": made.bucket_name,
        "S3_REGION": config.region,
        "SMTP_HOST": service.smtp_host,
        "EMAIL_FROM": service.email_from,
        "ALLOWED_ORIGINS": ",".join(service.origins),
    }
    if service.smtp_user:
        settings["SMTP_USER"] = service.smtp_user
    if config.database.proxy:
        settings["DATABASE_TRANSACTION_POOLING"] = "true"
    return settings


def _network_policy(config: StageConfig) -> dict[str, Any]:
    """Return who may come and where pods may go: the same networks that the security groups open."""
    public = [str(subnet) for subnet in config.network.public]
    data = [str(subnet) for subnet in config.network.data]
    return {
        "enabled": True,
        "ingressController": {"cidrs": public},
        "egress": {
            "database": [{"cidr": cidr, "ports": [5432]} for cidr in data],
            "redis": [{"cidr": cidr, "ports": [6379]} for cidr in data],
            "s3": [{"cidr": "0.0.0.0/0", "ports": [443]}],  # the gateway endpoint keeps S3's public addresses
            "smtp": [{"cidr": "0.0.0.0/0", "ports": [465, 587]}],
            "sentry": [{"cidr": "0.0.0.0/0", "ports": [443]}],
            "podIdentity": [{"cidr": POD_IDENTITY_AGENT, "ports": [80]}],
        },
    }
