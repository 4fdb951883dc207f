"""The hosted zone of a stage, and the certificate of its load balancer."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.config import DnsConfig


@dataclass(frozen=True, slots=True)
class DnsArgs:
    """What the zone needs."""

    config: DnsConfig
    production: bool


class Dns(pulumi.ComponentResource):
    """A public zone and a certificate proved by records in it. The API's own record is external-dns's, which knows the load balancer.

    The zone's name servers (`nameServers` of the stack) are entered once where the parent domain is kept; until then the certificate
    waits, which is why it is waited for last and for an hour.
    """

    def __init__(self, name: str, args: DnsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("platform:infra:Dns", name, None, opts)
        # Protected: a new zone has new name servers, and every resolver of the world would have to learn them.
        kept = pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=args.production)
        self.zone = aws.route53.Zone("zone", name=args.config.zone, comment="Made by Pulumi", opts=kept)
        certificate = aws.acm.Certificate(
            "certificate",
            domain_name=args.config.host,
            validation_method="DNS",
            key_algorithm="EC_prime256v1",  # smaller handshakes than RSA; every client since 2014 has it
            # A certificate in use cannot be deleted, so a new one comes first.
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=False),
        )
        option = certificate.domain_validation_options[0]
        record = aws.route53.Record(
            "validation",
            zone_id=self.zone.zone_id,
            name=option.resource_record_name,
            type=option.resource_record_type,
            records=[option.resource_record_value],
            ttl=300,
            allow_overwrite=True,  # ACM asks for the same record again when a certificate is replaced
            opts=pulumi.ResourceOptions(parent=self),
        )
        # Only Amazon may issue for the zone: ACM checks it (RFC 8659).
        aws.route53.Record(
            "issuers",
            zone_id=self.zone.zone_id,
            name=args.config.zone,
            type="CAA",
            records=['0 issue "amazon.com"', '0 issuewild ";"'],
            ttl=3600,
            opts=pulumi.ResourceOptions(parent=self),
        )
        validated = aws.acm.CertificateValidation(
            "validated",
            certificate_arn=certificate.arn,
            validation_record_fqdns=[record.fqdn],
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=pulumi.CustomTimeouts(create="60m")),
        )
        self.certificate_arn: pulumi.Output[str] = validated.certificate_arn
        self.zone_id: pulumi.Output[str] = self.zone.zone_id
        self.zone_arn: pulumi.Output[str] = self.zone.arn
        self.name_servers = self.zone.name_servers
        self.register_outputs({})
