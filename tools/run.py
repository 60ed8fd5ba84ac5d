"""Run AgentOS: prepare its data, start web server and cluster, end both together. This is `make run`."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from django.core.exceptions import ImproperlyConfigured  # noqa: E402  (the checkout is not installed)

try:
    from agentos_site import environment, interpreter, port, private_files, service
    from agentos_site.keys import create_missing, data_dir
    from agentos_site.service import Service, Stop, tick

    HOST, PORT = environment.HOST.read(), environment.PORT.read()
except ImproperlyConfigured as error:
    sys.exit(str(error))


STOPS = "stops"  # stands in the lock's file behind the process id of a holder that stops


def main() -> int:
    service.listen()
    os.chdir(ROOT)
    os.environ["DATA_DIR"] = str(data_dir())
    private_files.keep_private()
    try:
        lock = take_over(data_dir())
        port.check()  # says before the data is prepared that the port is taken
        demo = prepare()
        with Service() as running:
            try:
                quiet = wait_until_ready(running)
                say(demo, quiet)
                watch(running)
            finally:
                note(lock, f"{os.getpid()} {STOPS}")
    except Stop:
        return service.STOPPED_BY_SIGNAL + service.received[0]


# --- before the start


def take_over(directory: Path) -> int:
    """Lock the data directory: two clusters may share a database, but two `make run` may not share a directory.

    One that stops is waited for. The lock is this process's alone: its children do not inherit it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
    has_said = False
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except (BlockingIOError, PermissionError):
            holder, _, state = os.pread(descriptor, 100, 0).decode().partition(" ")
            if state != STOPS:
                sys.exit(f"AgentOS is already running on {directory} (process {holder}). A second one needs its own "
                         "DATA_DIR and PORT.")  # fmt: skip
        if not has_said:
            print(f"AgentOS on {directory} (process {holder}) stops. This one waits for it ...", flush=True)
            has_said = True
        tick()
    note(descriptor, str(os.getpid()))
    return descriptor


def note(lock: int, text: str) -> None:
    """Write into the lock's file, for a second `make run`, who holds it."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, text.encode(), 0)


def prepare() -> dict[str, Any]:
    """Bring keys, database, static files and demo up to date, and return the demo's addresses and logins."""
    create_missing(data_dir())
    run(manage("migrate", "-v", "0"))
    collect_static()
    return dict(json.loads(run(manage("demo", "--json"))))


def collect_static() -> None:
    """Collect and compress the static files, unless none has changed."""
    files = [path for path in sorted((ROOT / "static").rglob("*")) if path.is_file()]
    digest = hashlib.sha256((ROOT / "requirements.txt").read_bytes())
    for path in files:
        digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    stamp = data_dir() / "static.stamp"  # outside the folder, all of whose files are served
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
            output, _ = child.communicate(timeout=service.TICK_S)
            break
        except subprocess.TimeoutExpired:
            if service.received:
                os.killpg(child.pid, signal.SIGKILL)
                raise Stop from None
    if child.returncode:
        sys.exit(f"AgentOS does not start, because this command failed: {' '.join(command[1:])}")
    return output


# --- the running processes


def manage(*arguments: str) -> list[str]:
    return [sys.executable, "manage.py", *arguments]


def wait_until_ready(running: Service) -> str:
    """Wait for an engine, and return ""; of an installation that keeps quiet, whose engines wait, return why."""
    while (found := readiness())["status"] not in ("ok", "quiet"):
        running.fail_if_dead()
        tick()
    return found.get("reason", "")


def readiness() -> dict[str, str]:
    """Return what /readyz says."""
    host = "127.0.0.1" if HOST in ("0.0.0.0", "::") else HOST
    host = f"[{host}]" if ":" in host else host
    try:
        with urllib.request.urlopen(f"http://{host}:{PORT}/readyz", timeout=5) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as refusal:
        return dict(json.load(refusal))
    except OSError:
        return {"status": "away"}


def watch(running: Service) -> NoReturn:
    """Wait for a signal, for the death of a child, or for the end of the make that started this process."""
    parent = os.getppid()
    while True:
        running.fail_if_dead()
        if os.environ.get("MAKELEVEL") and os.getppid() != parent:
            sys.exit("The make process has ended. AgentOS stops.")
        tick()


def say(demo: dict[str, Any], quiet: str) -> None:
    transform = demo["automations"]["transform"]
    body = json.dumps({"id": 7, "customer": {"name": "Ada"}, "total": 100})
    logins = "\n".join(f"    {user['username']:<10} {user['password']}" for user in demo["users"].values())
    if quiet:
        print(f"\n  {quiet}")
    if not interpreter.is_optimized():
        print(f"\n  {interpreter.SLOW}")
    print(
        f"\n  AgentOS runs at {demo['base_url']}  (Ctrl-C ends it)\n\n  Sign in as\n{logins}\n\n"
        f"  Start an execution, then look at the Execution Log:\n    curl -H 'Content-Type: application/json' "
        f"-H 'ah-http-key: {transform['secret']}' -d '{body}' {transform['trigger_url']}\n",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
