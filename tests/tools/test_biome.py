"""Without npm the rest of `make lint` goes on; in continuous integration its absence is a failure."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings


@pytest.mark.parametrize(("variables", "code"), [({}, 0), ({"CI": "true"}, 1)])
def test_missing_npm_is_said(tmp_path: Path, variables: dict[str, str], code: int) -> None:
    (tmp_path / "tools").mkdir()
    tool = shutil.copy(Path(settings.BASE_DIR) / "tools" / "biome.py", tmp_path / "tools")
    environment = {"PATH": "/nowhere", **variables}

    done = subprocess.run([sys.executable, tool, "check"], env=environment, capture_output=True, text=True)

    assert done.returncode == code
    assert "npm is not installed" in done.stdout
