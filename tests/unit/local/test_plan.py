"""What a stack consists of: what the user set replaces what would be embedded, and ports stay the same from run to run."""

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.local import plan
from app.local.errors import StackError
from app.local.place import Place, open_place
from app.local.plan import make_plan, service_programs
from app.local.servers import postgres
from app.local.servers.ports import free_port

REAL = {
    "DATABASE_URL": "postgresql://app@db/platform",
    "REDIS_URL": "redis://cache/0",
    "S3_ENDPOINT_URL": "http://s3",
    "SMTP_HOST": "mail",
}


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    """A folder PostgreSQL's account can enter, and a repository without `.env`."""
    monkeypatch.setattr(plan, "REPOSITORY", tmp_path)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield open_place(f"{folder}/local")


def environment(**more: str) -> dict[str, str]:
    """Return an environment with a free port for the API."""
    return {"API_PORT": str(free_port()), **more}


def test_without_anything_set_every_server_is_embedded(place: Place) -> None:
    made = make_plan(place, environment())
    assert [server.program.name for server in made.servers] == ["postgres", "valkey", "s3", "mail"]
    assert made.postgres
    assert made.settings["DATABASE_URL"] == made.postgres.url()
    assert made.settings["MIGRATION_DATABASE_URL"] == made.postgres.url(postgres.OWNER)
    assert made.settings["ENVIRONMENT"] == "local"


@pytest.mark.parametrize(("name", "server"), [*zip(REAL, ("postgres", "valkey", "s3", "mail"), strict=True)])
def test_a_real_server_replaces_the_embedded_one(place: Place, name: str, server: str) -> None:
    others = {other: url for other, url in REAL.items() if other != name}
    made = make_plan(place, environment(**others))
    assert [embedded.program.name for embedded in made.servers] == [server]
    assert not set(others) & set(made.settings)


def test_a_secret_given_as_a_file_counts_as_given(place: Place) -> None:
    made = make_plan(place, environment(**REAL, DATABASE_URL_FILE="/run/secrets/url", SECRET_KEY_FILE="/run/secrets/key"))
    assert made.servers == []
    assert "SECRET_KEY" not in made.settings


def test_the_environment_takes_precedence_over_the_file(place: Place, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REDIS_URL=redis://file/0\nWEB_CONCURRENCY=3\n")
    assert make_plan(place, environment(**REAL)).settings["WEB_CONCURRENCY"] == "3"
    assert make_plan(place, environment(**REAL, WEB_CONCURRENCY="1")).settings["WEB_CONCURRENCY"] == "1"


def test_secrets_and_ports_are_the_same_in_the_next_run(place: Place) -> None:
    given = environment(**{name: url for name, url in REAL.items() if name != "REDIS_URL"})
    assert make_plan(place, given).settings == make_plan(place, given).settings


def test_a_remembered_port_that_is_taken_meanwhile_is_replaced(place: Place) -> None:
    port = place.port("valkey")
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        assert place.port("valkey") != port


def test_a_wanted_port_that_is_taken_is_refused_by_name(place: Place) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(StackError, match="is taken") as refused:
            make_plan(place, environment(VALKEY_PORT=str(other.getsockname()[1])))
    assert "VALKEY_PORT=" in refused.value.remedy


def test_two_stacks_share_no_port(place: Place, tmp_path: Path) -> None:
    second = Place(tmp_path)
    first_ports = {place.port(name) for name in ("postgres", "valkey", "smtp")}
    assert len(first_ports) == 3
    assert second.secret("valkey") != place.secret("valkey")


def test_each_process_of_the_service_has_a_metrics_port_of_its_own(place: Place) -> None:
    programs = service_programs(make_plan(place, environment(**REAL)))
    ports = {program.name: (program.env or {})["METRICS_PORT"] for program in programs if program.name != "beat"}
    assert sorted(ports) == ["api", "worker-bulk", "worker-main"]
    assert len(set(ports.values())) == 3


def test_a_proxy_does_not_get_what_goes_to_this_machine(place: Place) -> None:
    made = make_plan(place, environment(**REAL, NO_PROXY="intra.example"))
    assert made.settings["NO_PROXY"] == "intra.example,127.0.0.1,localhost"
