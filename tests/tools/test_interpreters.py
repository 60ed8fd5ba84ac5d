"""The Pythons of a machine on which the unit tests run too, and how the one that runs AgentOS was built."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from agentos_site import interpreter
from tools import interpreters


def test_one_python_of_each_other_supported_version_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"python3.12": "3.12", "python3.13": "3.13", "python3.14": "3.14", "python3.11": "3.11"}
    for name, version in versions.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))

    expected = {version: str(tmp_path / f"python{version}") for version in interpreters.SUPPORTED}
    del expected[interpreters.OWN]
    assert interpreters.others() == expected


def test_a_shim_that_does_not_start_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "3.14" if interpreters.OWN != "3.14" else "3.12"
    shim = tmp_path / f"python{other}"
    shim.write_text("#!/bin/sh\necho 'version not installed' >&2\nexit 127\n")
    real = tmp_path / ".pyenv" / "versions" / f"{other}.9" / "bin" / "python"
    real.parent.mkdir(parents=True)
    real.write_text(f"#!/bin/sh\necho {other}\n")
    for path in (shim, real):
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))

    assert interpreters.others() == {other: str(real)}


@pytest.mark.parametrize(
    ("arguments", "profile", "is_optimized"),
    [
        ("'--prefix=/usr/local' '--enable-shared'", "-fprofile-use", False),
        ("'--enable-optimizations' '--with-lto'", "-fprofile-use", True),
        ("'--prefix=/usr' '--with-dtrace'", "", True),  # Debian's
        (None, None, True),  # a system that does not say
    ],
)
def test_a_build_without_a_profile_is_named_slow(
    monkeypatch: pytest.MonkeyPatch, arguments: str | None, profile: str | None, is_optimized: bool
) -> None:
    said = {"CONFIG_ARGS": arguments, "PGO_PROF_USE_FLAG": profile}
    monkeypatch.setattr(sysconfig, "get_config_var", said.get)

    assert interpreter.is_optimized() is is_optimized
