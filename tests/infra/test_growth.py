"""The capacity model: its sums by hand, its limits held, and the page saying what it says."""

from dataclasses import fields, replace

import pytest

from infra import capacity, growth, growth_page
from infra.catalog import catalog
from infra.generate import REFERENCE, stage_config
from infra.growth import ASSUMED, LIMITS, Plan

USERS = (1, 10_000, 1_000_000, 7_000_000, 9_000_000, 30_000_000, 100_000_000)
PAGE = (REFERENCE / "infrastructure-growth.md").read_text(encoding="utf-8")


@pytest.fixture(params=USERS)
def plan(request: pytest.FixtureRequest) -> Plan:
    return growth.plan(request.param)


def test_a_million_users_are_what_they_are_by_hand() -> None:
    load = growth.load(1_000_000)
    assert load.requests == pytest.approx(300_000 * 100 * 4 / 86_400)
    assert load.changes == pytest.approx(load.requests / 10)
    assert load.server_cpu == pytest.approx(load.requests * 166e-6)  # 0.7 x 110 + 0.2 x 360 + 0.1 x 170
    assert load.database_cpu == pytest.approx(load.requests * 77e-6)  # 0.7 x 40 + 0.2 x 170 + 0.1 x 150
    assert load.sockets == pytest.approx(15_000)
    assert load.storage_gib == pytest.approx(503_000 * 1_000_000 / 2**30)


def test_load_is_proportional_to_users() -> None:
    one, hundred = growth.load(1_000_000), growth.load(100_000_000)
    for field in fields(one):
        assert getattr(hundred, field.name) == pytest.approx(100 * getattr(one, field.name))


def test_shares_of_requests_are_a_whole() -> None:
    assert sum(kind.share for kind in growth.REQUESTS.values()) == pytest.approx(1)


def test_no_cell_goes_beyond_a_limit(plan: Plan) -> None:
    load, kind = plan.cell.load, catalog().databases[plan.cell.database_class]
    assert load.storage_gib <= LIMITS.storage_gib
    assert load.changes <= LIMITS.changes
    assert load.broker_commands <= LIMITS.broker_commands
    assert load.database_cpu <= kind.cpu * ASSUMED.database_busy
    assert load.memory_gib <= kind.memory_gib * ASSUMED.database_cached
    assert load.broker_gib <= catalog().caches[plan.cell.broker_class].memory_gib
    assert plan.cell.api_pods <= LIMITS.pods


def test_pods_of_a_cell_carry_its_requests_and_its_sockets(plan: Plan) -> None:
    load, cell = plan.cell.load, plan.cell
    assert cell.api_pods * capacity.API_REQUEST[0] / 1000 * ASSUMED.busy >= load.server_cpu
    assert cell.api_pods * ASSUMED.sockets_per_pod >= load.sockets
    assert cell.worker_pods * capacity.WORKER_REQUEST[0] / 1000 * ASSUMED.busy >= load.worker_cpu


def test_pods_of_a_cell_fit_its_nodes_and_the_subnets_of_prod(plan: Plan) -> None:
    cell, kind = plan.cell, catalog().nodes[growth.NODE]
    asked = cell.api_pods * capacity.API_REQUEST[0] + cell.worker_pods * capacity.WORKER_REQUEST[0] + capacity.SYSTEM_REQUEST[0]
    assert asked <= cell.nodes * (kind.cpu * 1000 - capacity.NODE_RESERVED[0])
    assert cell.cluster_addresses <= capacity.addresses(stage_config("prod"))


def test_connections_fit_the_class_or_a_proxy_stands_between(plan: Plan) -> None:
    assert plan.cell.proxy == (plan.cell.connections > plan.cell.database_connections)


def test_many_sockets_on_a_small_database_want_a_proxy() -> None:
    crowded = growth.plan(5_000_000, replace(ASSUMED, online=1, sockets_per_pod=5000, hot=0.001))
    assert crowded.cell.proxy


def test_many_requests_want_a_read_replica() -> None:
    assert growth.plan(100_000_000).cell.read_replicas == 0
    assert growth.plan(100_000_000, replace(ASSUMED, requests_daily=1000)).cell.read_replicas == 1


def test_cells_are_as_many_as_the_hungriest_part_wants_in_threes() -> None:
    plan = growth.plan(100_000_000)
    assert plan.cells % 3 == 0
    assert max(plan.needs.values()) <= plan.cells < max(plan.needs.values()) + 3


@pytest.mark.parametrize("name", list(growth.thresholds()))
def test_one_user_beyond_a_threshold_needs_another_cell(name: str) -> None:
    most = growth.thresholds()[name]
    assert growth.plan(most).needs[name] == 1
    assert growth.plan(most + 1).needs[name] == 2


def test_prod_carries_a_million_as_it_is_configured() -> None:
    assert min(growth.carries(stage_config("prod")).values()) >= 1_000_000


def test_what_prod_carries_moves_with_its_class() -> None:
    prod = stage_config("prod")
    larger = prod.model_copy(update={"database": prod.database.model_copy(update={"instance_class": "db.r7g.2xlarge"})})
    memory = "database.instanceClass: memory"
    assert growth.carries(larger)[memory] == pytest.approx(2 * growth.carries(prod)[memory], abs=1)


def test_cells_cost_less_a_user_than_the_first_million_and_more_in_all() -> None:
    prod = stage_config("prod")
    first, hundred = (growth.price(growth.plan(users), prod) for users in (1_000_000, 100_000_000))
    assert first < hundred < 100 * first


def test_the_page_names_a_remedy_for_everything_that_ends() -> None:
    assert set(growth_page.STEPS) == set(growth.carries(stage_config("prod")))
    assert set(growth_page.WALLS) == set(growth.thresholds())


@pytest.mark.parametrize("users", [1_000_000, 100_000_000])
def test_the_page_has_the_numbers_of_the_model(users: int) -> None:
    plan, column = growth.plan(users), {1_000_000: 1, 100_000_000: 3}[users]
    rows = {cells[0].strip(): cells for line in PAGE.splitlines() if (cells := line.strip("|").split("|")) and len(cells) == 4}
    said = {name: rows[name][column].strip() for name in rows}
    assert said["requests a second, busiest minute"] == f"{plan.total.requests:,.0f}"
    assert said["GiB in PostgreSQL"] == f"{plan.total.storage_gib:,.0f}"
    assert said["**cells**"] == f"**{plan.cells}**"
    assert said["in each: API pods"] == str(plan.cell.api_pods)
    assert said["in each: database, Multi-AZ"] == plan.cell.database_class
