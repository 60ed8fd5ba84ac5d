"""The installation under attack: database, web server and cluster, and the echo server, which outlives them all."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos import plan
from tests.support.automations import Made, make
from tests.support.databases import Database, PostgresqlDatabase, SqliteDatabase
from tests.support.installation import Installation
from tests.support.processes import Process, descendants, free_port, until
from tools import postgresql

SETUP = """
import json
from automations.definition import Definition
from automations.models import Automation
from django.contrib.auth.models import User
from projects.models import ApiToken, Membership, Organization, Project, Variable
organization = Organization.objects.get(name="Tested")
organization.direct_limit = None
organization.save()
project = Project.objects.get(name="Tested")
variable = Variable(project=project, key="CANARY", is_secret=True)
variable.value = %r
variable.save()
timed = Automation.objects.create(name="Timed", project=project, organization=organization)
trigger, _ = timed.make_trigger("schedule", "fires")
part = {"uid": trigger.uid, "connector": "schedule", "event": "fires", "config": {"unit": "minutes", "interval": 1}}
steps = [{"key": "shape", "connector": "transform", "action": "fields", "input": {"fields": {"a": 1}}}]
timed.save_draft(Definition.model_validate({"trigger": part, "steps": steps}), rev=timed.draft_rev)
timed.activate(None)
tokens = []
for number in range(5):
    user = User.objects.create_user(f"chaos{number}")
    Membership.objects.create(organization=organization, user=user, role=Membership.Role.OWNER)
    tokens.append(ApiToken.objects.make(user, "Chaos")[1])
print(json.dumps({"tokens": tokens, "organization": str(organization.pk), "project": str(project.pk)}))
"""


@dataclass
class Scene:
    directory: Path
    installation: Installation
    echo: Process
    echo_port: int
    server: postgresql.Server | None = None  # of PostgreSQL
    made: Made = field(init=False)
    about: dict[str, Any] = field(init=False)
    schedule_start: float = field(init=False)
    schedule_end: float = 0.0

    @property
    def effects(self) -> Path:
        return self.directory / "effects.jsonl"

    @property
    def echo_url(self) -> str:
        return f"http://127.0.0.1:{self.echo_port}"

    def arm(self, pids: list[int]) -> None:
        """Let the echo server kill these processes when it has recorded the next call, before it answers."""
        request = urllib.request.Request(f"{self.echo_url}/-/arm", json.dumps(pids).encode())
        urllib.request.urlopen(request, timeout=5).close()

    def workers(self) -> list[int]:
        """Return the processes of this machine's engines."""
        rows = self.installation.query("SELECT pid FROM executions_engine ORDER BY pid")
        return [row["pid"] for row in rows if is_running(row["pid"])]

    def rss_mb(self) -> float:
        pids = {process.pid for process in (self.installation.web, self.installation.cluster) if process}
        pids |= {child for pid in pids for child in descendants(pid)}
        return sum(map(_rss_mb, pids))

    def connections(self) -> int:
        if self.server is None:
            return 0
        sql = (
            "SELECT COUNT(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(self.installation.query(sql)[0]["n"])

    def start(self) -> None:
        self.installation.prepare()
        self.installation.start()
        self.made = make(self.installation, {name: kind.steps for name, kind in plan.KINDS.items()})
        self.about = json.loads(self.installation.python(SETUP % plan.CANARY))
        self.schedule_start = time.time()

    def stop_schedule(self) -> None:
        """Deactivate the scheduled automation, so that no execution starts while the checker reads."""
        self.schedule_end = time.time()
        code = 'from automations.models import Automation; Automation.objects.get(name="Timed").deactivate()'
        self.installation.python(code)

    @property
    def schedule_kept(self) -> tuple[float, float]:
        return self.schedule_start, self.schedule_end or time.time()

    def press_retry(self, execution_id: str, token: str) -> int:
        """Press Retry Execution as a user's machine would; return the answer's status, 0 when there was none."""
        url = f"{self.installation.url}/v1/projects/{self.about['project']}/executions/{execution_id}/retry"
        headers = {"authtoken": token, "organization_uid": self.about["organization"]}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, b"", headers), timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


def is_running(pid: int) -> bool:
    """Say whether the process is there and not merely unburied."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _rss_mb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20
    except OSError:
        return 0.0


@contextmanager
def scene(database: str, directory: Path, prepared: Installation | None = None) -> Iterator[Scene]:
    """Start everything in the directory, with keys and static files of `prepared`; leave no process behind."""
    with ExitStack() as stack:
        server = stack.enter_context(postgresql.server()) if database == "postgresql" else None
        made: Database = PostgresqlDatabase(server.url) if server else SqliteDatabase(directory)
        settings = {"WORKERS": "2", "EXTRA_CONNECTORS": "tests.support.faulty"}
        installation = (
            prepared.copy(directory, made, **settings) if prepared else Installation(directory, made, **settings)
        )
        stack.callback(installation.kill)
        port = free_port()
        echo = Process(
            [sys.executable, "-m", "chaos.echo", str(port), str(directory / "effects.jsonl")],
            environment=installation.environment, log=directory / "echo.log",
        )  # fmt: skip
        stack.callback(echo.kill)
        built = Scene(directory, installation, echo, port, server)
        until(lambda: _listens(built), what="the echo server listens")
        built.start()
        yield built


def _listens(built: Scene) -> bool:
    try:
        built.arm([])
    except OSError:
        return False
    return True
