"""A `manage.py shell` that stays, because starting one costs a second of the processor's time."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from harness.processes import ROOT

PATIENCE_S = 60
SERVE = """
import contextlib, io, json, sys, traceback
from django.db import connections
for line in sys.stdin:
    said, error = io.StringIO(), ""
    with contextlib.redirect_stdout(said):
        try:
            exec(json.loads(line), {})
        except Exception:
            error = traceback.format_exc()
    connections.close_all()
    print(json.dumps([said.getvalue(), error]), flush=True)
"""


class Interpreter:
    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self.popen = subprocess.Popen(
                [sys.executable, "manage.py", "shell", "-v", "0", "-c", SERVE],
                cwd=ROOT, env=dict(environment), text=True, bufsize=1,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
            )  # fmt: skip

    def run(self, code: str) -> str:
        """Run code in a namespace of its own and return its output; fail with its traceback."""
        assert self.popen.stdin and self.popen.stdout
        self.popen.stdin.write(json.dumps(code) + "\n")
        assert select.select([self.popen.stdout], [], [], PATIENCE_S)[0], f"no answer within {PATIENCE_S} s"
        answer = self.popen.stdout.readline()
        assert answer, "manage.py shell ended"
        said, error = json.loads(answer)
        assert not error, error
        return str(said)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.communicate()
