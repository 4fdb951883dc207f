"""Wires the components of a stage: who is given what, and what the stage tells others."""

from typing import Any

import pulumi
import pulumi_aws as aws

from infra import capacity
from infra.catalog import catalog
from infra.components.alarms import Alarms, AlarmsArgs
from infra.components.cache import Cache, CacheArgs
from infra.components.cluster import Cluster, ClusterArgs
from infra.components.database import Database, DatabaseArgs
from infra.components.dns import Dns, DnsArgs
from infra.components.identity import Identity, IdentityArgs
from infra.components.keys import Keys, KeysArgs
from infra.components.network import Network, NetworkArgs
from infra.components.registry import Registry, RegistryArgs
from infra.components.secrets import Secrets, SecretsArgs
from infra.components.storage import Storage, StorageArgs
from infra.config import StageConfig
from infra.outputs import Made, helm_values


def deploy(config: StageConfig) -> None:
    """Register everything of a stage, and export what its users need."""
    stage = _Stage(config)
    stage.export()


class _Stage:
    """The components of one stage, in the order in which they need each other."""

    def __init__(self, config: StageConfig) -> None:
        self.config = config
        self.name = f"{pulumi.get_project()}-{config.stage}"
        self.tags = {"project": pulumi.get_project(), "stage": config.stage, "owner": config.owner, "managed-by": "pulumi"}
        provider = aws.Provider(
            "aws",
            region=config.region,
            allowed_account_ids=[config.account],  # credentials of another stage are refused before anything happens
            default_tags={"tags": self.tags},
        )
        self.opts = pulumi.ResourceOptions(providers={"aws": provider})
        production = config.is_production
        self.keys = Keys("keys", KeysArgs(account=config.account, region=config.region, production=production), self.opts)
        self.network = self._network()
        self.cluster = self._cluster()
        self.storage = Storage("storage", StorageArgs(config.storage, production, self.keys.storage.arn), self.opts)
        self.registry = Registry("registry", RegistryArgs(production=production), self.opts)
        self.dns = Dns("dns", DnsArgs(config=config.dns, production=production), self.opts)
        self.database = self._database()
        self.cache = self._cache()
        self.secrets = self._secrets()
        self.identity = self._identity()
        self.cluster.add_external_dns(config.dns.zone, self.identity.associations["external-dns", "external-dns"])
        self._alarms()

    def _network(self) -> Network:
        config = self.config
        args = NetworkArgs(
            config=config.network,
            account=config.account,
            region=config.region,
            production=config.is_production,
            cluster_tag=self.name,
            logs_key_arn=self.keys.logs.arn,
        )
        return Network("network", args, self.opts)

    def _cluster(self) -> Cluster:
        config = self.config
        args = ClusterArgs(
            config=config.cluster,
            name=self.name,
            account=config.account,
            region=config.region,
            tags=self.tags,
            private_subnet_ids=self.network.private_subnet_ids,
            egress=self.network.egress,
            cluster_key_arn=self.keys.cluster.arn,
            logs_key_arn=self.keys.logs.arn,
        )
        return Cluster("cluster", args, self.opts)

    def _database(self) -> Database:
        config = self.config
        args = DatabaseArgs(
            config=config.database,
            name=self.name,
            account=config.account,
            production=config.is_production,
            vpc_id=self.network.vpc_id,
            subnet_ids=self.network.data_subnet_ids,
            client_security_group_id=self.cluster.pod_security_group_id,
            key_arn=self.keys.database.arn,
            logs_key_arn=self.keys.logs.arn,
            app_password=config.secrets.app_password,
            owner_password=config.secrets.owner_password,
            administrator_password=config.secrets.administrator_password,
        )
        return Database("database", args, self.opts)

    def _cache(self) -> Cache:
        config = self.config
        args = CacheArgs(
            config=config.cache,
            name=self.name,
            production=config.is_production,
            vpc_id=self.network.vpc_id,
            subnet_ids=self.network.data_subnet_ids,
            client_security_group_id=self.cluster.pod_security_group_id,
            key_arn=self.keys.cache.arn,
            logs_key_arn=self.keys.logs.arn,
            password_version=config.secrets.cache_passwords,
        )
        return Cache("cache", args, self.opts)

    def _secrets(self) -> Secrets:
        given = pulumi.Config()
        args = SecretsArgs(
            config=self.config.secrets,
            stage=self.config.stage,
            production=self.config.is_production,
            key_arn=self.keys.secrets.arn,
            database_url=self.database.app_url,
            migration_database_url=self.database.owner_url,
            broker_url=self.cache.broker_url,
            live_url=self.cache.live_url,
            cache_url=self.cache.cache_url,
            smtp_password=given.get_secret("smtpPassword"),
            sentry_dsn=given.get_secret("sentryDsn"),
        )
        return Secrets("secrets", args, self.opts)

    def _identity(self) -> Identity:
        config = self.config
        args = IdentityArgs(
            stage=config.stage,
            account=config.account,
            region=config.region,
            service=config.service,
            github=config.github,
            cluster_name=self.cluster.name,
            cluster_arn=self.cluster.arn,
            vpc_id=self.network.vpc_id,
            bucket_arn=self.storage.bucket_arn,
            storage_key_arn=self.keys.storage.arn,
            repository_arn=self.registry.arn,
            secret_arns=[self.secrets.app.arn, self.secrets.migration.arn],
            secrets_key_arn=self.keys.secrets.arn,
            zone_arn=self.dns.zone_arn,
        )
        return Identity("identity", args, self.opts)

    def export(self) -> None:
        """Tell the chart its values, and people and workflows what the runbooks ask for. None of it is secret."""
        made = Made(
            repository_url=self.registry.url,
            bucket_name=self.storage.bucket_name,
            certificate_arn=self.dns.certificate_arn,
            app_secret_name=self.secrets.app_name,
            migration_secret_name=self.secrets.migration_name,
        )
        outputs: dict[str, Any] = {
            "helmValues": helm_values(self.config, made),
            "host": self.config.dns.host,
            "nameServers": self.dns.name_servers,
            "vpcId": self.network.vpc_id,
            "clusterName": self.cluster.name,
            "clusterKeyArn": self.keys.cluster.arn,
            "podSecurityGroupId": self.cluster.pod_security_group_id,
            "nodeRole": self.cluster.node_role_name,
            "karpenterQueue": self.cluster.karpenter_queue,
            "databaseIdentifier": self.database.instance.identifier,
            "databaseAddress": self.database.address,
            "databaseAdministrator": self.database.master_secret_arn,
            "brokerGroup": self.cache.broker.id,
            "cacheGroup": self.cache.cache.id,
            "repositoryUrl": self.registry.url,
            "buildRoleArn": self.identity.build_role_arn,
            "deployRoleArn": self.identity.deploy_role_arn,
        }
        for name, value in outputs.items():
            pulumi.export(name, value)

    def _alarms(self) -> Alarms:
        config = self.config
        nodes = config.cache.replicas + 1
        args = AlarmsArgs(
            config=config.alarms,
            stage=config.stage,
            account=config.account,
            database_id=self.database.instance.identifier,
            database_class=catalog().databases[config.database.instance_class],
            database_storage_gib=config.database.storage_gib,
            database_connections=capacity.max_connections(config.database),
            replica_ids=[replica.identifier for replica in self.database.replicas],
            broker_nodes=_nodes(self.cache.broker.id, nodes),
            cache_nodes=_nodes(self.cache.cache.id, nodes),
            nat_gateway_ids=self.network.nat_gateway_ids,
        )
        return Alarms("alarms", args, self.opts)


def _nodes(group: pulumi.Output[str], count: int) -> list[pulumi.Output[str]]:
    """Return the ids that ElastiCache gives to the nodes of a group: its own and a number of three digits."""
    return [pulumi.Output.concat(group, f"-{number:03d}") for number in range(1, count + 1)]
