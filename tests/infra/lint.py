"""cfn-lint over a stage's registrations, in this process."""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from cfnlint.config import ConfigMixIn
from cfnlint.decode.decode import decode_str
from cfnlint.rules import Rules
from cfnlint.runner import Runner
from cfnlint.runner.template import run_template_by_data

from infra.registrations import Graph
from tests.infra.cloudformation import template

#: Rules that say nothing about a stack that is not CloudFormation's.
IGNORED: Final = {
    "W3010": "availability zones are a stage's configuration",
    "W1011": "passwords stand in Secrets Manager already; the registrations are read with them in plain",
}


def lint(graph: Graph, only: Iterable[str] | None = None) -> list[str]:
    """Return what cfn-lint has against a stage: rule, resource and sentence.

    Args:
        graph: What was registered.
        only: URNs to look at; everything, if it is not given.
    """
    body, urns = template(graph, only)
    if not body["Resources"]:
        return []
    provider = graph.one("pulumi:providers:aws", "aws")
    region = provider.inputs["region"]
    decoded, errors = decode_str(json.dumps(body))
    matches: list[Any] = errors or list(run_template_by_data(decoded or {}, _config(region), _rules(region)))
    return [
        f"{match.rule.id} {urns.get(str(match.path[1]), '').rpartition('$')[2] if len(match.path) > 1 else ''}: {match.message}"
        for match in matches
        if match.rule.id not in IGNORED and not match.rule.id.startswith("I")
    ]


@cache
def _config(region: str) -> ConfigMixIn:
    return ConfigMixIn(regions=[region])


@cache
def _rules(region: str) -> Rules:
    """Return cfn-lint's rules, loaded once: it takes a second."""
    return Runner(_config(region)).rules
