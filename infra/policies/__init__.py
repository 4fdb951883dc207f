"""Policies: what neither the types, nor CloudFormation's schemas, nor AWS's answers tell.

A policy on a resource is a function of its type and inputs; a policy on the graph sees everything a stage registers. Both yield sentences
that say what to change. Whoever wants another adds a function, and names it here.
"""

from typing import Final

from infra.policies import access, cluster, data, names, network, state, storage, watching
from infra.policies.base import Finding, GraphPolicy, ResourcePolicy
from infra.registrations import Graph

RESOURCE_POLICIES: Final[tuple[ResourcePolicy, ...]] = (
    network.ingress_is_not_open,
    network.group_rules_stand_alone,
    network.subnets_give_no_public_addresses,
    network.vpc_resolves_names,
    data.database_is_closed,
    data.database_is_kept,
    data.database_stays_up,
    data.production_is_not_burstable,
    data.classes_are_known,
    data.parameters_of_the_database,
    data.caches_are_closed,
    data.caches_fail_over,
    data.cache_users_are_few,
    storage.buckets_are_closed,
    storage.images_are_what_they_were,
    storage.keys_turn,
    storage.secrets_come_back,
    storage.messages_are_encrypted,
    storage.nothing_is_public,
    access.documents_are_whole,
    access.rights_are_named,
    access.managed_policies_are_small,
    access.trust_is_narrow,
    cluster.cluster_is_closed,
    cluster.cluster_is_supported,
    cluster.nodes_are_closed,
    cluster.nodes_fit_their_image,
    names.certificates_renew_themselves,
    state.names_are_left_to_pulumi,
    state.passwords_are_strong,
    watching.alarms_reach_somebody,
)
GRAPH_POLICIES: Final[tuple[GraphPolicy, ...]] = (
    network.tiers_are_kept,
    network.subnets_have_their_routes,
    network.subnets_fit,
    network.gateways_are_waited_for,
    network.traffic_is_recorded,
    network.files_go_by_the_gateway_endpoint,
    network.data_is_reached_by_role,
    data.database_fits_its_parameters,
    data.caches_fit_their_parameters,
    data.chart_knows_the_connections,
    data.administrators_are_managed,
    data.readers_are_not_left_behind,
    storage.buckets_have_what_belongs_to_them,
    storage.uploads_have_an_own_key,
    storage.keys_let_their_services_in,
    access.pods_have_their_roles,
    cluster.addons_come_in_order,
    cluster.events_reach_their_queue,
    cluster.nodes_wait_for_what_they_need,
    cluster.karpenter_finds_its_network,
    cluster.sizes_are_left_to_the_autoscaler,
    cluster.logs_are_there_before_their_writers,
    state.stateful_is_protected,
    state.secrets_are_secret,
    state.outputs_are_not_text,
    state.outputs_are_there,
    state.regions_agree,
    state.provider_is_ours,
    state.everything_has_an_owner,
    state.aliases_lead_somewhere,
    names.certificate_is_for_the_host,
    watching.what_matters_is_watched,
    watching.somebody_listens,
)


def check(graph: Graph, *, production: bool) -> list[Finding]:
    """Return everything that policies have against a stage, or nothing.

    Args:
        graph: What the program registered.
        production: Whether losing it would hurt customers.
    """
    found = [
        Finding(policy.__name__, resource.urn, sentence)
        for policy in RESOURCE_POLICIES
        for resource in graph.custom
        for sentence in policy(resource.type, resource.inputs, production)
    ]
    found += [Finding(policy.__name__, urn, sentence) for policy in GRAPH_POLICIES for urn, sentence in policy(graph, production)]
    return found
