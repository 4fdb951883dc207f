"""Who may do what on AWS: a role for each ServiceAccount of the cluster, and for each workflow of the repository."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import iam
from infra.config import GithubConfig, ServiceConfig
from infra.iam import Statement
from infra.load_balancer_policy import load_balancer_statements

GITHUB = "token.actions.githubusercontent.com"
#: Group of Kubernetes of the workflow that deploys. AWS's policies know no custom resources: the bootstrap runbook binds a Role to it.
#: https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html
DEPLOYERS = "platform-deployers"


@dataclass(frozen=True, slots=True)
class IdentityArgs:
    """What roles are for, and what they may reach."""

    stage: str
    account: str
    region: str
    service: ServiceConfig
    github: GithubConfig
    cluster_name: pulumi.Output[str]
    cluster_arn: pulumi.Output[str]
    vpc_id: pulumi.Output[str]
    bucket_arn: pulumi.Output[str]
    storage_key_arn: pulumi.Output[str]
    repository_arn: pulumi.Output[str]
    secret_arns: Sequence[pulumi.Output[str]]
    secrets_key_arn: pulumi.Output[str]
    zone_arn: pulumi.Output[str]


class Identity(pulumi.ComponentResource):
    """Roles with exactly their actions on exactly their resources; none has a key that could be lost."""

    def __init__(self, name: str, args: IdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("platform:infra:Identity", name, None, opts)
        self._args = args
        self.associations: dict[tuple[str, str], aws.eks.PodIdentityAssociation] = {}
        release, namespace = args.service.release, args.service.namespace
        for component, statements in self._components().items():
            self._pod_role(namespace, f"{release}-{component}", statements)
        for (where, account), statements in self._controllers().items():
            self._pod_role(where, account, statements)
        self.build_role_arn, self.deploy_role_arn = self._workflows()
        self.register_outputs({})

    def _components(self) -> dict[str, Sequence[Statement]]:
        """Return what the chart's ServiceAccounts may do. One without a statement has a role all the same: nothing else is a way in."""
        args = self._args
        imports = args.bucket_arn.apply(lambda arn: f"{arn}/imports/*")
        key = Statement(("kms:GenerateDataKey", "kms:Decrypt"), [args.storage_key_arn], self._through("s3"))
        # Without the right to list, S3 answers 403 instead of 404 about what is not there.
        listing = Statement(("s3:ListBucket",), [args.bucket_arn])
        # Presigned uploads are signed with the API's identity. `doctor` of `helm test` runs as the API and tries a file of its own.
        doctor = args.bucket_arn.apply(lambda arn: f"{arn}/doctor/*")
        everything = Statement(("s3:PutObject", "s3:GetObject", "s3:DeleteObject"), [imports, doctor])
        return {
            "api": (everything, listing, key),
            "worker-main": (),
            "worker-bulk": (
                Statement(("s3:GetObject", "s3:DeleteObject"), [imports]),
                listing,
                Statement(("kms:Decrypt",), [args.storage_key_arn], self._through("s3")),
            ),
            "scheduler": (),
            "migrate": (),
        }

    def _controllers(self) -> dict[tuple[str, str], Sequence[Statement]]:
        """Return what controllers may do that the bootstrap runbook installs, and the add-on external-dns."""
        args = self._args
        secrets = (
            Statement(("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"), list(args.secret_arns)),
            Statement(("kms:Decrypt",), [args.secrets_key_arn], self._through("secretsmanager")),
        )
        names = (
            Statement(("route53:ChangeResourceRecordSets", "route53:ListResourceRecordSets"), [args.zone_arn]),
            Statement(("route53:ListHostedZones", "route53:ListTagsForResources"), ["*"]),  # it looks through all zones for its own
        )
        balancers = load_balancer_statements(args.region, args.account, args.cluster_name, args.vpc_id)
        return {
            ("external-secrets", "external-secrets"): secrets,
            ("external-dns", "external-dns"): names,
            ("kube-system", "aws-load-balancer-controller"): balancers,
        }

    def _through(self, service: str) -> iam.Condition:
        """Let a key be used by way of one service alone."""
        return {"StringEquals": {"kms:ViaService": f"{service}.{self._args.region}.amazonaws.com"}}

    def _pod_role(self, namespace: str, account: str, statements: Sequence[Statement]) -> None:
        cluster = self._args.cluster_name
        role = aws.iam.Role(
            account,
            assume_role_policy=iam.pod_trust(cluster, namespace, account),
            description=f"ServiceAccount {namespace}/{account}",
            opts=pulumi.ResourceOptions(parent=self),
        )
        policies: list[pulumi.Resource] = []
        if statements:
            body = iam.document(*statements)
            policies = [aws.iam.RolePolicy(account, role=role.id, policy=body, opts=pulumi.ResourceOptions(parent=role))]
        self.associations[namespace, account] = aws.eks.PodIdentityAssociation(
            account,
            cluster_name=cluster,
            namespace=namespace,
            service_account=account,
            role_arn=role.arn,
            # A pod that starts between the two would be refused, and remember it.
            opts=pulumi.ResourceOptions(parent=self, depends_on=policies),
        )

    def _workflows(self) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        """Make the roles of GitHub's workflows: one pushes images, one upgrades the release. Neither provisions: that is people's."""
        args = self._args
        provider = aws.iam.OpenIdConnectProvider(
            "github",
            url=f"https://{GITHUB}",
            client_id_lists=["sts.amazonaws.com"],
            opts=pulumi.ResourceOptions(parent=self),
        )
        push = (
            Statement(("ecr:GetAuthorizationToken",), ["*"]),  # it is the registry's, and cannot be limited to a repository
            Statement(
                (
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:BatchGetImage",
                    "ecr:CompleteLayerUpload",
                    "ecr:DescribeImages",
                    "ecr:GetDownloadUrlForLayer",
                    "ecr:InitiateLayerUpload",
                    "ecr:PutImage",
                    "ecr:UploadLayerPart",
                ),
                [args.repository_arn],
            ),
        )
        describe = (Statement(("eks:DescribeCluster",), [args.cluster_arn]),)
        build = self._workflow_role("build", provider.arn, push)
        deploy = self._workflow_role("deploy", provider.arn, describe)
        entry = aws.eks.AccessEntry(
            "deploy",
            cluster_name=args.cluster_name,
            principal_arn=deploy.arn,
            kubernetes_groups=[DEPLOYERS],
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.eks.AccessPolicyAssociation(
            "deploy",
            cluster_name=args.cluster_name,
            principal_arn=deploy.arn,
            policy_arn="arn:aws:eks::aws:cluster-access-policy/AmazonEKSAdminPolicy",  # within the release's namespace alone
            access_scope={"type": "namespace", "namespaces": [args.service.namespace]},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[entry]),
        )
        return build.arn, deploy.arn

    def _workflow_role(self, purpose: str, provider_arn: pulumi.Output[str], statements: Sequence[Statement]) -> aws.iam.Role:
        github = self._args.github
        # The subject has one of two forms, with names alone or with ids; the repository's is compared in either case, for a name that
        # was given up can be registered by somebody else.
        subjects = [
            f"repo:{github.owner}/{github.repository}:environment:{self._args.stage}",
            f"repo:{github.owner}@{github.owner_id}/{github.repository}@{github.repository_id}:environment:{self._args.stage}",
        ]
        trust = Statement(
            ("sts:AssumeRoleWithWebIdentity",),
            principals={"Federated": provider_arn},
            conditions={
                "StringEquals": {
                    f"{GITHUB}:aud": "sts.amazonaws.com",
                    f"{GITHUB}:sub": subjects,
                    f"{GITHUB}:repository_id": str(github.repository_id),
                },
                # AWS takes up some claims of GitHub, and its list has not got this one: asked for, it might never be there.
                "StringEqualsIfExists": {f"{GITHUB}:repository_owner_id": str(github.owner_id)},
            },
        )
        role = aws.iam.Role(
            f"github-{purpose}",
            assume_role_policy=iam.document(trust),
            description=f"Workflows of {github.owner}/{github.repository}: {purpose}",
            max_session_duration=3600,
            opts=pulumi.ResourceOptions(parent=self),
        )
        body = iam.document(*statements)
        aws.iam.RolePolicy(f"github-{purpose}", role=role.id, policy=body, opts=pulumi.ResourceOptions(parent=role))
        return role
