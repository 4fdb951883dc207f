"""When each alert fires and when it stays silent. ``{S}`` stands for the labels of the release's series."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

type Series = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """An alert, and series from both sides of its threshold, in promtool's notation with a sample a minute.

    Attributes:
        alert: Its name.
        fires: Series that make it fire.
        silent: Series that do not, by a hair where there is a number.
        labels: What the firing alert says beside its severity and the release.
        after: Minutes until both are looked at.
        every: Minutes between two evaluations.
        seen_when_absent: It fires where the release has no series at all.
    """

    alert: str
    fires: Series
    silent: Series
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    after: int = 30
    every: int = 1
    seen_when_absent: bool = False

    def __str__(self) -> str:
        return "-".join([self.alert, *(value for value in self.labels.values() if value != "app.tasks.a")])


def _answers(failed: int, of: int, then_healthy: int = 0) -> Series:
    """Requests per minute, so many of them with 500, for two hours; no failure for the last minutes."""
    bad = f"0+{failed}x120 " + (f"{failed * 120}x{then_healthy}" if then_healthy else "")
    labels = '{S},handler="/api/v1/items/",method="GET"'
    return {
        f'http_requests_total{{{labels},status="200"}}': f"0+{of - failed}x{120 + then_healthy}",
        f'http_requests_total{{{labels},status="500"}}': bad.strip(),
        'http_requests_total{{S},handler="/health/ready",method="GET",status="503"}': "0+1000x200",
    }


def _durations(slow: int, of: int, handler: str = "/api/v1/items/{item_id}", method: str = "GET", within: str = "0.1") -> Series:
    """Requests per minute, so many of them slower than a bound, for two hours."""
    labels = f'{{S}},handler="{handler}",method="{method}"'
    return {
        f'http_request_duration_seconds_bucket{{{labels},le="{within}"}}': f"0+{of - slow}x130",
        f'http_request_duration_seconds_bucket{{{labels},le="+Inf"}}': f"0+{of}x130",
        'http_request_duration_seconds_bucket{{S},handler="/health/live",method="GET",le="0.1"}': "0+0x130",
        'http_request_duration_seconds_bucket{{S},handler="/health/live",method="GET",le="+Inf"}': "0+9000x130",
    }


def _ends(metric: str, labels: str, **per_minute: float) -> Series:
    """A counter's series by outcome, each growing by so much every minute."""
    return {f'{metric}{{{{S}},{labels}outcome="{outcome}"}}': f"0+{rate:g}x60" for outcome, rate in per_minute.items()}


#: Of 10,000 requests, those that are one too many and just few enough for each window, with an objective of 99.9 %.
_FAILURES = {"1h": (150, 143), "6h": (62, 59), "1d": (31, 29), "3d": (11, 9)}
#: The same of 1,000 requests with an objective of 99 %.
_SLOW = {"1h": (150, 143), "6h": (62, 59), "1d": (31, 29), "3d": (11, 9)}

BURNS = [
    *(
        Case("AvailabilityBudgetBurns", _answers(bad, 10_000), _answers(good, 10_000), {"window": window}, after=120, every=5)
        for window, (bad, good) in _FAILURES.items()
    ),
    *(
        Case("LatencyBudgetBurns", _durations(bad, 1_000), _durations(good, 1_000), {"window": window}, after=120, every=5)
        for window, (bad, good) in _SLOW.items()
    ),
]

#: What must not alert although requests failed or were slow, besides what is below the threshold.
HARMLESS = {
    "failures that ended": replace(BURNS[0], silent=_answers(1_000, 10_000, then_healthy=20), after=140),
    "one failure of few requests": replace(BURNS[0], silent=_answers(1, 2)),
    "a slow request of few": replace(BURNS[4], silent=_durations(1, 2)),
    "sign-ins that take as long as hashing does": replace(BURNS[4], silent=_durations(0, 1_000, "/api/v1/auth/login", "POST", "1.0")),
}

THRESHOLDS = [
    Case(
        "ApiDown",
        {'up{{S},component="api",pod="a"}': "1x9 0x50", 'up{{S},component="api",pod="b"}': "0x60"},
        {'up{{S},component="api",pod="a"}': "1x60", 'up{{S},component="api",pod="b"}': "0x60"},
        {"component": "api"},
        seen_when_absent=True,
    ),
    *(
        Case(
            "WorkerDown",
            {f'up{{{{S}},component="worker-{name}"}}': "1x9 0x50"},
            {f'up{{{{S}},component="worker-{name}"}}': "1x60"},
            {"component": f"worker-{name}"},
            seen_when_absent=True,
        )
        for name in ("main", "bulk")
    ),
    Case(
        "MetricsMissing",
        {'up{{S},component="api",pod="a"}': "1x60", 'up{{S},component="api",pod="b"}': "0x60"},
        {'up{{S},component="api",pod="a"}': "1x60", 'up{{S},component="api",pod="b"}': "0x5 1x60"},
        {"component": "api"},
    ),
    Case(
        "PodsNotReady",
        {'kube_deployment_status_replicas_unavailable{namespace="platform",deployment="platform-fastapi-platform-scheduler"}': "1x60"},
        {'kube_deployment_status_replicas_unavailable{namespace="platform",deployment="another-api"}': "1x60"},
        {"deployment": "platform-fastapi-platform-scheduler"},
    ),
    Case(
        "PodsRestarting",
        {'kube_pod_container_status_restarts_total{namespace="platform",pod="platform-fastapi-platform-api-1"}': "0x9 1 2 3 4 5x60"},
        {'kube_pod_container_status_restarts_total{namespace="platform",pod="platform-fastapi-platform-api-1"}': "0x9 1 2x60"},
        {"pod": "platform-fastapi-platform-api-1"},
    ),
    Case(
        "OutboxBacklogOld",
        {'outbox_backlog_age_seconds{{S},pod="a"}': "61x60", 'outbox_backlog_age_seconds{{S},pod="b"}': "0x60"},
        {'outbox_backlog_age_seconds{{S},pod="a"}': "60x60"},
    ),
    Case("OutboxParked", {'outbox_parked{{S},pod="a"}': "1x60"}, {'outbox_parked{{S},pod="a"}': "0x60"}),
    Case(
        "QueueOld",
        {'queue_age_seconds{{S},queue="main-queue"}': "61x60"},
        {'queue_age_seconds{{S},queue="main-queue"}': "60x60"},
        {"queue": "main-queue"},
    ),
    Case(
        "QueueOld",
        {'queue_age_seconds{{S},queue="bulk-queue"}': "1801x60"},
        {'queue_age_seconds{{S},queue="bulk-queue"}': "1800x60"},
        {"queue": "bulk-queue"},
    ),
    Case(
        "TasksFailing",
        _ends("tasks_total", 'task="app.tasks.a",', succeeded=7.9, failed=1, parked=1, lost=0.1),
        _ends("tasks_total", 'task="app.tasks.a",', succeeded=8, failed=1, parked=0.9, postponed=9, released=9),
        {"task": "app.tasks.a"},
    ),
    Case(
        "EmailsFailing",
        _ends("emails_total", "", sent=8, failed=1),
        _ends("emails_total", "", sent=9, failed=1),
        after=50,
    ),
    Case("EmailsRepeating", {"email_repeats_total{{S}}": "0+0.1x90"}, {"email_repeats_total{{S}}": "0+0.08x90"}, after=70),
    Case(
        "DatabasePoolWaiting",
        {'database_pool_waiting{{S},component="api",pool="transactions",pod="a"}': "1 2x60"},
        {'database_pool_waiting{{S},component="api",pool="transactions",pod="a"}': "1x60"},
        {"component": "api", "pool": "transactions"},
    ),
    Case(
        "DatabasePoolExhausted",
        {
            'database_pool_wait_seconds_count{{S},component="api",pool="autocommit"}': "0+5x60",
            'database_pool_wait_seconds_bucket{{S},component="api",pool="autocommit",le="0.5"}': "0+2.5x60",
        },
        {
            'database_pool_wait_seconds_count{{S},component="api",pool="autocommit"}': "0+500x60",
            'database_pool_wait_seconds_bucket{{S},component="api",pool="autocommit",le="0.5"}': "0+498x60",
        },
        {"component": "api", "pool": "autocommit"},
    ),
    Case(
        "RateLimitsUnchecked",
        {'rate_limit_decisions_total{{S},policy="read",decision="unchecked"}': "0+1x60"},
        {'rate_limit_decisions_total{{S},policy="read",decision="refused"}': "0+100x60"},
    ),
    Case(
        "LogLinesDropped",
        {'log_lines_dropped_total{{S},component="api"}': "0x20 10x60"},
        {'log_lines_dropped_total{{S},component="api"}': "10x60"},
        {"component": "api"},
        after=25,
    ),
    Case(
        "SlowSocketsClosed",
        {'websocket_closes_total{{S},code="1013"}': "0+1.4x60"},
        {'websocket_closes_total{{S},code="1013"}': "0+1.3x60", 'websocket_closes_total{{S},code="1012"}': "0+100x60"},
    ),
]

CASES = [*BURNS, *THRESHOLDS]
