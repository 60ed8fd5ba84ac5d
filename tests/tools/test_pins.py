"""The pins: each with hashes, none from an index of somebody's own, and all that the requirements.in name."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.processes import ROOT
from tools import audit
from tools.pins import BLOCK
from tools.programs import Unreachable

NAMED = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==(\S+)$", re.MULTILINE)
FILES = ("requirements.txt", "requirements-dev.txt")


def pins(file: str) -> dict[str, str]:
    """Return the block of each package, by its normalized name."""
    text = (ROOT / file).read_text()
    return {block["name"]: block[0] for block in BLOCK.finditer(text)}


@pytest.mark.parametrize("file", FILES)
def test_every_package_is_pinned_with_its_hashes(file: str) -> None:
    found = pins(file)

    assert len(found) > 30
    assert [name for name, block in found.items() if "--hash=sha256:" not in block] == []
    rest = BLOCK.sub("", (ROOT / file).read_text())
    assert set(re.findall(r"^(?!#)(.+)$", rest, re.MULTILINE)) <= {"-r requirements.txt"}


@pytest.mark.parametrize("file", [*FILES, "requirements.in", "requirements-dev.in"])
def test_no_file_names_an_index(file: str) -> None:
    text = (ROOT / file).read_text()

    assert "://" not in text and "index" not in text and "find-links" not in text


@pytest.mark.parametrize("file", FILES)
def test_the_pins_are_those_of_the_names(file: str) -> None:
    found = pins(file)

    for name, version in NAMED.findall((ROOT / file.replace(".txt", ".in")).read_text()):
        normal = re.sub(r"[-_.]+", "-", name).lower()
        assert found[normal].startswith(f"{normal}=={version} "), name


def test_a_package_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "idna").mkdir()
    (tmp_path / "idna" / "setup.py").write_text("raise SystemExit('this must not run')")
    subprocess.run(["tar", "czf", tmp_path / "idna-3.20.tar.gz", "-C", tmp_path, "idna"], check=True)
    wanted = tmp_path / "requirements.txt"
    wanted.write_text(pins("requirements.txt")["idna"])

    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-index", "--find-links", str(tmp_path), "--require-hashes",
         "--target", str(tmp_path / "there"), "-r", str(wanted)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert "--require-hashes" in (ROOT / "tools" / "venv.py").read_text()


# --- the audit

REPORTS = {
    "holes": {"dependencies": [
        {"name": "a", "version": "1", "vulns": []},
        {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]},
        {"name": "c", "skip_reason": "unknown"},
    ]},
    "none": {"dependencies": [{"name": "a", "version": "1", "vulns": []}]},
}  # fmt: skip


def auditor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program in the place of pip-audit, which asks the whole world."""
    program = tmp_path / "pip-audit"
    program.write_text(f"#!{sys.executable}\n{script}")
    program.chmod(0o700)
    monkeypatch.setattr(audit, "program", lambda name, packages: program)


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        (f"print('''{json.dumps(REPORTS['holes'])}'''); raise SystemExit(1)", 1, "b 2: PYSEC-1, mended in 3"),
        (f"print('''{json.dumps(REPORTS['none'])}''')", 0, "no known hole"),
        ("raise SystemExit('ConnectionError: no route')", 0, "skipped, the index of known holes gave no answer"),
        ("import time; time.sleep(60)", 0, "skipped, the index of known holes is too slow"),
    ],
)
def test_the_audit_fails_for_a_hole_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], script: str, code: int,
    words: str,
) -> None:  # fmt: skip
    auditor(tmp_path, monkeypatch, script)
    monkeypatch.setattr(audit, "AUDIT_S", 5)

    assert audit.main([]) == code
    assert words in capsys.readouterr().out


def test_the_audit_is_skipped_where_its_program_cannot_be_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(name: str, packages: list[str]) -> Path:
        raise Unreachable(f"{name} could not be installed")

    monkeypatch.setattr(audit, "program", unreachable)

    assert audit.main([]) == 0
    assert "audit: skipped, pip-audit could not be installed" in capsys.readouterr().out
