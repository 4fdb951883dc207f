"""The table of rate limits."""

import pytest

from app.core.http.policies import COUNTED, POLICIES, ROUTES, SPENT, UNLIMITED, policy_of


def test_the_limits_are_those_promised() -> None:
    promised = {
        "read": (60_000, 60),
        "write": (30_000, 60),
        "login-account": (10, 3600),
        "login-address": (100, 3600),
        "registration": (100, 3600),
    }
    assert {name: (POLICIES[name].quota, POLICIES[name].window) for name in promised} == promised


def test_every_route_has_a_policy_that_is_leased() -> None:
    assert {name for name in ROUTES.values() if name != UNLIMITED} <= {policy.name for policy in SPENT}


def test_a_lease_is_a_small_part_of_its_quota() -> None:
    assert all(policy.block * 20 <= policy.quota for policy in SPENT)
    assert all(policy.block == 1 for policy in COUNTED)


def test_a_route_is_found_under_the_base_path_whatever_its_parameters_are_called() -> None:
    assert policy_of("GET", "/api/v1/items/{id}", "/api/v1") is POLICIES["read"]
    assert policy_of("GET", "/v9/items/{item_id}", "/v9") is POLICIES["read"]
    assert policy_of("GET", "/", "/api/v1") is POLICIES["read"]


def test_probes_have_no_limit() -> None:
    assert policy_of("GET", "/health/ready", "/api/v1") is None


def test_a_route_without_an_entry_is_an_error() -> None:
    with pytest.raises(LookupError, match="no entry"):
        policy_of("GET", "/api/v1/unheard-of", "/api/v1")


def test_a_policy_announces_itself() -> None:
    assert POLICIES["read"].header == (b"ratelimit-policy", b'"read";q=60000;w=60')
