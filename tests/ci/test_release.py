"""What `make deploy`, `running`, `rollback` and `base` do, with a helm that only notes what it was asked."""

import json
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from charts.release import CHART, main
from tests.charts.helm import REPOSITORY
from tests.ci.conftest import Programs

WHERE = ("--release", "platform", "--namespace", "platform")
DIGEST = f"sha256:{64 * 'a'}"
COMMIT = 40 * "c"


def revisions(*statuses: str) -> str:
    return json.dumps([{"revision": number, "status": status} for number, status in enumerate(statuses, 1)])


def upgrade(values: Path, *, digest: str = DIGEST, tag: str = COMMIT) -> int:
    return main(["upgrade", *WHERE, "--values", str(values), "--digest", digest, "--tag", tag])


@pytest.fixture
def values(tmp_path: Path) -> Path:
    path = tmp_path / "values.json"
    path.write_text("{}")
    return path


def test_the_revision_that_serves_is_printed_for_other_steps(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    programs.answer("helm history", revisions("superseded", "deployed", "failed"))
    assert main(["running", *WHERE]) == 0
    assert capsys.readouterr().out == "revision=2\n"


def test_before_the_first_release_there_is_no_revision(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    programs.answer("helm history", err="Error: release: not found", status=1)
    assert main(["running", *WHERE]) == 0
    assert capsys.readouterr().out == "revision=\n"


def test_a_cluster_that_cannot_be_reached_is_not_taken_for_an_empty_one(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    programs.answer("helm history", err="Error: cluster unreachable: host not found", status=1)
    assert main(["running", *WHERE]) == 1
    assert capsys.readouterr() == ("", "The history of platform cannot be read: Error: cluster unreachable: host not found\n")


def test_an_upgrade_under_way_is_left_alone(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    programs.answer("helm history", revisions("deployed", "pending-upgrade"))
    assert main(["running", *WHERE]) == 1
    assert "Another upgrade of platform is under way" in capsys.readouterr().err


def test_an_upgrade_is_by_digest_waits_and_is_tested(programs: Programs, values: Path, capfd: pytest.CaptureFixture[str]) -> None:
    programs.answer("helm upgrade", "REVISION: 3\n")
    assert upgrade(values) == 0
    upgraded, tested = programs.calls
    assert upgraded == (
        f"helm upgrade --install platform {CHART} --namespace platform --values {values} "
        f"--set-string image.digest={DIGEST},image.tag={COMMIT} --wait --timeout 10m"
    )
    assert tested == "helm test platform --namespace platform --logs --timeout 10m"
    assert capfd.readouterr() == ("", "REVISION: 3\n")


@pytest.mark.parametrize("failing", ["helm upgrade", "helm test"])
def test_a_release_that_does_not_get_ready_or_fails_its_tests_is_a_failure(programs: Programs, values: Path, failing: str) -> None:
    programs.answer(failing, status=1)
    assert upgrade(values) == 1
    assert programs.calls[-1].startswith(failing)


def test_what_is_no_digest_no_commit_or_no_values_is_refused_before_anything_happens(
    programs: Programs, values: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text("\n")
    assert upgrade(values, digest="latest") == 1
    assert upgrade(values, tag="0.1.0") == 1
    assert upgrade(empty) == 1
    assert upgrade(tmp_path / "none.json") == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.partition("=")[0] for line in said] == ["DIGEST", "TAG", "VALUES", "VALUES"]
    assert not programs.calls


def test_a_rollback_names_its_revision_and_waits(programs: Programs) -> None:
    assert main(["rollback", *WHERE, "--revision", "7"]) == 0
    assert programs.calls == ["helm rollback platform 7 --namespace platform --wait --timeout 10m"]


@pytest.mark.parametrize("revision", ["", "former", "-1"])
def test_without_a_revision_there_is_no_rollback(programs: Programs, revision: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollback", *WHERE, f"--revision={revision}"]) == 1
    assert "is no revision to go back to" in capsys.readouterr().err
    assert not programs.calls


@contextmanager
def service(version: Any) -> Generator[str]:
    """Yield the base URL of a service that says which version it is."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/api/v1/openapi.json" else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"info": {"version": version}}).encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class calls it so
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def head() -> str:
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.strip()


def test_the_base_is_the_commit_that_the_service_says_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(REPOSITORY)
    with service(commit := head()) as url:
        assert main(["base", "--host", url]) == 0
    assert capsys.readouterr().out == f"base={commit}\n"


@pytest.mark.parametrize("version", ["0.1.0", "HEAD", 40 * "0", "--all", None])
def test_a_version_that_is_no_commit_of_ours_is_no_base(
    version: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    with service(version) as url:
        assert main(["base", "--host", url]) == 1
    said = capsys.readouterr()
    assert not said.out
    assert f"runs {version}, which is no commit of this checkout" in said.err


@pytest.mark.parametrize("host", ["", "api.staging.example.com", "file:///etc/passwd", "http://127.0.0.1:9"])
def test_a_service_that_does_not_answer_has_no_base(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["base", "--host", host]) == 1
    said = capsys.readouterr()
    assert not said.out
    assert said.err.startswith((f"HOST={host} is no base URL", f"{host} does not say what it runs"))
