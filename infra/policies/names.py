"""The host that clients know, and its certificate."""

from collections.abc import Iterator
from typing import Final

from infra.policies.base import Properties
from infra.registrations import Graph

CERTIFICATE: Final = "aws:acm/certificate:Certificate"


def certificates_renew_themselves(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """ACM renews what a record proves; a mail has to be answered every year."""
    if kind == CERTIFICATE and properties.get("validationMethod") != "DNS":
        yield f"is proved by {properties.get('validationMethod', 'nothing')}; set validation_method to DNS."


def certificate_is_for_the_host(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """The load balancer answers for one host, with a certificate that is issued already."""
    host = graph.exports.get("host")
    waited = {validation.inputs.get("certificateArn") for validation in graph.of("aws:acm/certificateValidation:CertificateValidation")}
    certificates = graph.of(CERTIFICATE)
    if host and not any(host in (it.inputs.get("domainName"), *it.inputs.get("subjectAlternativeNames", [])) for it in certificates):
        yield "", f"serves {host} without a certificate for it; set domain_name."
    for certificate in certificates:
        if certificate.outputs["arn"] not in waited:
            yield certificate.urn, "is handed on before it is issued; add a CertificateValidation and take its certificate_arn."
