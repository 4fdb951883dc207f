"""IAM: who may do what."""

import json
from collections.abc import Iterator
from typing import Any, Final, cast

from infra.policies.base import DOCUMENTS, Properties, principals, several, statements
from infra.registrations import Graph

READING: Final = ("Describe", "List", "Get", "BatchGet")
#: `Get` is not always reading: these hand out what is secret.
SECRET_READS: Final = ("secretsmanager:GetSecretValue", "s3:GetObject", "ssm:GetParameter", "kms:Decrypt")
TOO_MUCH: Final = ("AdministratorAccess", "PowerUserAccess", "IAMFullAccess", "FullAccess")
ROLE_POLICIES: Final = ("aws:iam/rolePolicy:RolePolicy", "aws:iam/policy:Policy")
ATTACHMENT: Final = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"


def documents_are_whole(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """JSON, without gaps where an output was not there, and without an output that was turned into text too early."""
    text = properties.get(DOCUMENTS.get(kind, ""))
    if text is None:
        return
    try:
        body = json.loads(text)
    except ValueError:
        yield "holds a policy that is not JSON; build it with infra.iam.document."
        return
    if "Statement" not in body or body.get("Version") != "2012-10-17":
        yield "holds a policy without statements or of the old version; build it with infra.iam.document."
    if any(value is None for value in _leaves(body)):
        yield "holds a policy with a gap: an output that is not there; look which one is None."


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in cast("Properties", value).values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _leaves(item)
    else:
        yield value


def rights_are_named(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """No wildcard that matters: not in actions, and not in the resources of what changes something."""
    if kind not in ROLE_POLICIES:
        return
    for statement in statements(kind, properties):
        if statement["Effect"] == "Allow":
            yield from _rights(statement)


def _rights(statement: dict[str, Any]) -> Iterator[str]:
    if "NotAction" in statement or "NotResource" in statement:
        yield "allows everything but something; name what it allows."
    actions, resources = several(statement.get("Action")), several(statement.get("Resource"))
    for action in actions:
        if action == "*" or action.endswith(":*"):
            yield f"allows {action}; name the actions."
    wide = [action for action in actions if not _only_reads(action)]
    if "*" in resources and not statement.get("Condition") and wide:
        yield f"allows {', '.join(wide)} on everything; name the resources, or a condition."
    if any(str(resource).rstrip("/*").endswith(":::") for resource in resources):
        yield "allows all buckets; name one."
    if "iam:PassRole" in actions and ("*" in resources or "iam:PassedToService" not in json.dumps(statement.get("Condition", {}))):
        yield "hands any role to any service; name the role, and the service in iam:PassedToService."


def _only_reads(action: str) -> bool:
    service, _, verb = action.partition(":")
    return verb.startswith(READING) and action not in SECRET_READS and f"{service}:{verb}" != "*"


def managed_policies_are_small(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """AWS's policies for administrators belong to people, not to programs."""
    arns = [properties.get("policyArn", "")] if kind == ATTACHMENT else properties.get("managedPolicyArns", [])
    for arn in arns if kind in {ATTACHMENT, "aws:iam/role:Role"} else ():
        if str(arn).endswith(TOO_MUCH):
            yield f"has {str(arn).rpartition('/')[2]}; give it what it does."


#: Claims of GitHub's tokens that a trust policy can ask for.
#: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html
CLAIMS: Final = frozenset(
    (
        *("aud", "sub", "actor", "actor_id", "enterprise_id", "environment"),
        *("job_workflow_ref", "ref", "repository", "repository_id", "workflow"),
    )
)


def trust_is_narrow(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """Who may take a role on: one service, one repository, one ServiceAccount."""
    if kind != "aws:iam/role:Role":
        return
    for statement in statements(kind, properties):
        if "*" in principals(statement, "AWS"):
            yield "can be taken on by everybody; name who may."
        if principals(statement, "Federated"):
            yield from _federated(statement.get("Condition", {}))
        for_pods = "pods.eks.amazonaws.com" in principals(statement, "Service")
        if for_pods and not {"sts:AssumeRole", "sts:TagSession"} <= set(several(statement.get("Action"))):
            yield "cannot be taken on by a pod; allow sts:AssumeRole and sts:TagSession."


def _federated(condition: dict[str, Any]) -> Iterator[str]:
    exact = {key: value for operator, keys in condition.items() if operator == "StringEquals" for key, value in keys.items()}
    names = {key.rpartition(":")[2] for key in exact}
    if "aud" not in names:
        yield "does not ask whom the token is for; add the condition aud."
    if "sub" not in names:
        yield "does not ask for exactly one subject; add a StringEquals on sub."
    if any("*" in str(subject) for key, value in exact.items() if key.endswith(":sub") for subject in several(value)):
        yield "asks for a subject with a wildcard, which StringEquals takes literally; write it out."
    if "repository_id" not in names:
        yield "trusts names, which somebody else could register; add the repository's id."
    for unknown in sorted(names - CLAIMS):
        yield f"asks for {unknown}, which AWS does not take from GitHub's token: nobody could take it on; use StringEqualsIfExists."


def pods_have_their_roles(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """Each association's role trusts Pod Identity, and has its rights before pods can ask."""
    roles = {role.outputs["arn"]: role for role in graph.of("aws:iam/role:Role")}
    for link in graph.of("aws:eks/podIdentityAssociation:PodIdentityAssociation"):
        role = roles.get(link.inputs.get("roleArn", ""))
        if role is None:
            yield link.urn, "names a role that is not made here; make it."
            continue
        if "pods.eks.amazonaws.com" not in str(role.inputs.get("assumeRolePolicy")):
            yield link.urn, f"names {role.name}, which pods cannot take on; trust pods.eks.amazonaws.com."
        account = str(link.inputs.get("serviceAccount"))
        if f'"{account}"' not in str(role.inputs.get("assumeRolePolicy")):
            yield link.urn, f"names {role.name}, which is not for {account} alone; add kubernetes-service-account to its trust."
        rights = [
            other for other in graph.of(*ROLE_POLICIES[:1], ATTACHMENT) if other.inputs.get("role") in {role.id, role.outputs["name"]}
        ]
        for right in rights:
            if right.urn not in graph.ancestors(link.urn):
                yield link.urn, f"may be used before {right.name} is attached; add it to depends_on."
    links = [
        (link.inputs.get("namespace"), link.inputs.get("serviceAccount"))
        for link in graph.of("aws:eks/podIdentityAssociation:PodIdentityAssociation")
    ]
    for place in sorted({str(link) for link in links if links.count(link) > 1}):
        yield "", f"gives {place} two roles; EKS refuses the second."
