"""Images of the service."""

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

#: Releases that can be rolled back to. What runs is among the newest; older ones would only be scanned and paid for.
KEPT_IMAGES = 200
#: Days that an image is kept after no tag names it any more.
UNTAGGED_DAYS = 14


@dataclass(frozen=True, slots=True)
class RegistryArgs:
    """What the registry needs."""

    production: bool
    """Whether images outlive the stack."""


class Registry(pulumi.ComponentResource):
    """One repository. A tag that was pushed stays what it was, so that a rollback starts what once ran."""

    def __init__(self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("platform:infra:Registry", name, None, opts)
        self.repository = aws.ecr.Repository(
            "repository",
            name=f"{pulumi.get_project()}/{pulumi.get_stack()}",  # workflows and people push to it by name
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration={"scan_on_push": True},
            # The registry's own key. An image holds no secret, and with a key of ours no node could start without it.
            encryption_configurations=[{"encryption_type": "AES256"}],
            force_delete=False,
            opts=pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=args.production),
        )
        aws.ecr.LifecyclePolicy(
            "repository",
            repository=self.repository.name,
            policy=json.dumps({"rules": [_untagged(1), _oldest(2)]}),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.url: pulumi.Output[str] = self.repository.repository_url
        self.arn: pulumi.Output[str] = self.repository.arn
        self.register_outputs({})


def _untagged(priority: int) -> dict[str, object]:
    since = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": UNTAGGED_DAYS}
    return {"rulePriority": priority, "description": "No tag names it", "selection": since, "action": {"type": "expire"}}


def _oldest(priority: int) -> dict[str, object]:
    # `any` must come last: AWS refuses a rule after it.
    more = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": KEPT_IMAGES}
    return {"rulePriority": priority, "description": "Old releases", "selection": more, "action": {"type": "expire"}}
