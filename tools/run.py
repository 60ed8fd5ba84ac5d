"""Run AgentOS: prepare its data, start web server and cluster, end both together. This is `make run`.

Both are process groups of their own. One SIGTERM or Ctrl-C asks them to end, and what has not ended when the drain is
over is killed; when one of them dies, the other ends too and the exit code says so.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from agentos_site.keys import create_missing, data_dir  # noqa: E402  (the checkout is not installed)
from agentos_site.web import HOST, PORT  # noqa: E402

DRAIN_S = 19.5  # above settings.ENGINE_DRAIN_S: an engine gives back what it could not end
TICK_S = 0.1
STOPPED_BY_SIGNAL = 128


received: list[int] = []  # the signals that asked for the end; looked at where nothing can get lost


class Stop(Exception):
    """A signal asked for the end."""


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: received.append(number))
    os.chdir(ROOT)
    os.environ["DATA_DIR"] = str(data_dir())
    children: dict[str, subprocess.Popen[bytes]] = {}
    lock = take_over(data_dir())
    try:
        check_port()
        demo = prepare()
        children["web"] = start([sys.executable, "-m", "agentos_site.web"])
        children["cluster"] = start(manage("qcluster"))
        wait_until_ready(children)
        say(demo)
        watch(children)
    except Stop:
        return STOPPED_BY_SIGNAL + received[0]
    finally:
        end(children)
        os.close(lock)


def tick() -> None:
    time.sleep(TICK_S)
    if received:
        raise Stop


# --- before the start


def take_over(directory: Path) -> int:
    """Make the data directory ours; two clusters may share a database, two `make run` not a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"AgentOS runs on {directory} already; a second one wants its own DATA_DIR and PORT.")
    return descriptor


def check_port() -> None:
    with socket.socket(socket.AF_INET6 if ":" in HOST else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, PORT))
        except OSError as error:
            sys.exit(f"Port {PORT} of {HOST} cannot be used ({error.strerror}); choose another: PORT=8001 make run")


def prepare() -> dict[str, Any]:
    """Bring keys, database, static files and demo up to date, and return the demo's addresses and logins."""
    create_missing(data_dir())
    run(manage("migrate", "-v", "0"))
    collect_static()
    return dict(json.loads(run(manage("demo", "--json"))))


def collect_static() -> None:
    """Collect and compress the static files, unless they are as they were."""
    files = [path for path in sorted((ROOT / "static").rglob("*")) if path.is_file()]
    digest = hashlib.sha256((ROOT / "requirements.txt").read_bytes())
    for path in files:
        digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    stamp = data_dir() / "static" / ".stamp"
    if not stamp.exists() or stamp.read_text() != digest.hexdigest():
        run(manage("collectstatic", "--noinput", "--clear", "-v", "0"))
        stamp.write_text(digest.hexdigest())


def run(command: list[str]) -> str:
    """Run a command to its end and return what it printed; a signal ends it too."""
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    while True:
        try:
            output, _ = child.communicate(timeout=TICK_S)
            break
        except subprocess.TimeoutExpired:
            if received:
                os.killpg(child.pid, signal.SIGKILL)
                raise Stop from None
    if child.returncode:
        sys.exit(f"This failed, so AgentOS does not start: {' '.join(command[1:])}")
    return output


# --- what runs


def manage(*arguments: str) -> list[str]:
    return [sys.executable, "manage.py", *arguments]


def start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)


def wait_until_ready(children: dict[str, subprocess.Popen[bytes]]) -> None:
    while not is_ready():
        fail_if_dead(children)
        tick()


def is_ready() -> bool:
    host = "127.0.0.1" if HOST in ("0.0.0.0", "::") else HOST
    host = f"[{host}]" if ":" in host else host
    try:
        with urllib.request.urlopen(f"http://{host}:{PORT}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def watch(children: dict[str, subprocess.Popen[bytes]]) -> NoReturn:
    """Wait until a signal comes, a child dies for good, or the make that started us is gone."""
    parent = os.getppid()
    while True:
        fail_if_dead(children)
        if os.environ.get("MAKELEVEL") and os.getppid() != parent:
            sys.exit("make is gone: AgentOS stops.")
        tick()


def fail_if_dead(children: dict[str, subprocess.Popen[bytes]]) -> None:
    for name, child in children.items():
        if child.poll() is not None:
            sys.exit(f"The {name} process ended by itself (exit code {child.returncode}): AgentOS stops.")


# --- the end


def end(children: dict[str, subprocess.Popen[bytes]]) -> None:
    """Ask every child to end, wait for the drain, then leave nothing of its group behind."""
    deadline = time.monotonic() + DRAIN_S
    for child in children.values():
        if child.poll() is None:
            child.terminate()  # the leader only: it ends its workers in order
    for child in children.values():
        try:
            child.wait(max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
    for child in children.values():
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()


def say(demo: dict[str, Any]) -> None:
    transform = demo["automations"]["transform"]
    body = json.dumps({"id": 7, "customer": {"name": "Ada"}, "total": 100})
    logins = "\n".join(f"    {user['username']:<10} {user['password']}" for user in demo["users"].values())
    print(
        f"\n  AgentOS runs at {demo['base_url']}  (Ctrl-C ends it)\n\n  Sign in as\n{logins}\n\n"
        f"  Start an execution, then look at the Execution Log:\n    curl -H 'Content-Type: application/json' "
        f"-H 'ah-http-key: {transform['secret']}' -d '{body}' {transform['trigger_url']}\n",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
