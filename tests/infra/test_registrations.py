"""The recorder tells what the engine would be asked for, and hides no mistake."""

import asyncio

import pulumi
import pulumi_aws as aws
import pulumi_random as random
import pytest

from infra.registrations import Refused, record


def provider() -> pulumi.ResourceOptions:
    made = aws.Provider("aws", region="eu-west-1", allowed_account_ids=["111122223333"])
    return pulumi.ResourceOptions(provider=made)


def test_a_registration_has_its_inputs_options_and_dependencies() -> None:
    def program() -> None:
        opts = provider()
        vpc = aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", opts=opts)
        gateway = aws.ec2.InternetGateway("internet", vpc_id=vpc.id, opts=opts)
        aws.ec2.Subnet(
            "subnet",
            vpc_id=vpc.id,
            cidr_block="10.0.0.0/24",
            opts=pulumi.ResourceOptions(
                parent=vpc,
                depends_on=[gateway],
                protect=True,
                retain_on_delete=True,
                ignore_changes=["tags"],
                aliases=[pulumi.Alias(name="former")],
            ),
        )

    graph = record(program, stack="dev")
    vpc = graph.one("aws:ec2/vpc:Vpc", "vpc")
    subnet = graph.one("aws:ec2/subnet:Subnet", "subnet")
    assert subnet.urn == "urn:pulumi:dev::fastapi-platform::aws:ec2/vpc:Vpc$aws:ec2/subnet:Subnet::subnet"
    assert subnet.parent == vpc.urn
    assert subnet.inputs == {"vpcId": vpc.id, "cidrBlock": "10.0.0.0/24"}
    assert subnet.property_dependencies["vpcId"] == {vpc.urn}
    assert subnet.explicit_dependencies == {graph.one("aws:ec2/internetGateway:InternetGateway", "internet").urn}
    assert subnet.protect
    assert subnet.retain_on_delete
    assert subnet.ignore_changes == ("tags",)
    assert subnet.aliases == (subnet.urn.replace("::subnet", "::former"),)
    assert subnet.provider == graph.one("pulumi:providers:aws", "aws").urn
    assert vpc.urn in graph.ancestors(subnet.urn)


def test_resources_come_after_what_they_need_and_always_in_the_same_order() -> None:
    def program() -> None:
        opts = provider()
        vpc = aws.ec2.Vpc("z", cidr_block="10.0.0.0/16", opts=opts)
        for number in range(5):
            aws.ec2.Subnet(f"a-{number}", vpc_id=vpc.id, cidr_block=f"10.0.{number}.0/24", opts=opts)

    first, second = record(program, stack="dev"), record(program, stack="dev")
    assert first == second
    urns = [resource.urn for resource in first.resources]
    assert all(urns.index(needed) < urns.index(it.urn) for it in first.resources for needed in it.dependencies)


def test_ids_and_arns_have_the_form_region_and_account_of_the_real_ones() -> None:
    def program() -> None:
        opts = provider()
        aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", opts=opts)
        aws.rds.Instance("database", instance_class="db.m7g.large", opts=opts)
        aws.iam.Role("role", assume_role_policy="{}", opts=opts)

    graph = record(program, stack="dev")
    assert graph.one("aws:ec2/vpc:Vpc", "vpc").id.startswith("vpc-")
    assert graph.one("aws:rds/instance:Instance", "database").outputs["arn"].startswith("arn:aws:rds:eu-west-1:111122223333:db:database-")
    assert graph.one("aws:iam/role:Role", "role").outputs["arn"].startswith("arn:aws:iam::111122223333:role/role-")


def test_secrets_stay_secret_on_their_way_through_outputs_and_functions() -> None:
    def program() -> None:
        opts = provider()
        password = random.RandomPassword("password", length=30)
        url = pulumi.Output.concat("https://user:", password.result.apply(str.upper))
        topic = aws.sns.Topic("url", display_name=url, opts=opts)
        aws.sns.Topic("copy", display_name=topic.display_name, opts=opts)
        aws.sns.Topic("plain", display_name=pulumi.Output.unsecret(password.result), opts=opts)
        pulumi.export("urls", {"one": url, "none": "https://example.com"})

    graph = record(program, stack="dev")
    topics = {it.name: it for it in graph.of("aws:sns/topic:Topic")}
    assert {name: it.secrets for name, it in topics.items()} == {"url": {"displayName"}, "copy": {"displayName"}, "plain": frozenset()}
    assert graph.secret_exports == {"urls.one"}
    assert topics["plain"].inputs["displayName"] == graph.one("random:index/randomPassword:RandomPassword", "password").outputs["result"]


def test_a_secret_of_the_configuration_is_secret_in_what_is_made_of_it() -> None:
    def program() -> None:
        aws.sns.Topic("key", display_name=pulumi.Config().require_secret("key"), opts=provider())

    graph = record(program, stack="dev", config={"fastapi-platform:key": "k"}, secrets=["fastapi-platform:key"])
    assert graph.one("aws:sns/topic:Topic", "key").secrets == {"displayName"}


def test_an_assertion_within_apply_fails() -> None:
    def program() -> None:
        def look(found: str) -> None:
            assert found == "another"

        aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", opts=provider()).id.apply(look)

    with pytest.raises(AssertionError):
        record(program, stack="dev")


def test_what_the_program_raises_comes_out_and_leaves_nothing_behind() -> None:
    def broken() -> None:
        aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", opts=provider())
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        record(broken, stack="dev")
    assert record(lambda: None, stack="dev").resources == ()


def test_a_name_that_is_taken_is_refused() -> None:
    def program() -> None:
        opts = provider()
        aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", opts=opts)
        aws.ec2.Vpc("vpc", cidr_block="10.1.0.0/16", opts=opts)

    with pytest.raises(Refused, match=r"Two resources have the URN .*::vpc"):
        record(program, stack="dev")


def test_a_function_that_reads_the_account_is_refused() -> None:
    with pytest.raises(Refused, match="which reads the account"):
        record(lambda: pulumi.export("account", aws.get_caller_identity_output().account_id), stack="dev")


def test_no_output_that_the_sdk_promises_is_missing() -> None:
    def program() -> None:
        opts = provider()
        aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", opts=opts).owner_id.apply(_there)
        aws.eks.Cluster("cluster", role_arn="arn", vpc_config={"subnet_ids": []}, opts=opts).platform_version.apply(_there)

    record(program, stack="dev")


def _there(value: object) -> None:
    assert value


async def test_it_can_be_called_while_an_event_loop_runs() -> None:
    assert asyncio.get_running_loop()
    assert len(record(lambda: None, stack="dev").resources) == 0
