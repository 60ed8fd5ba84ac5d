"""Set up the needs of the tests and run every part of them; name the parts that cannot run here. `make test`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from harness import postgresql  # noqa: E402  (the checkout is not installed)
from harness.browser import chromium  # noqa: E402
from tools import interpreters  # noqa: E402

CACHE = ROOT / "tests" / ".cache"
EXAMPLES = "@octokit/webhooks-examples"
EXAMPLES_VERSION = "7.6.1"
UNIT = ["-n", "2", "-m", "not cluster and not browser"]
BESIDE = ["-n", "4"]  # processes, as the tests spend half of their time waiting
LONGEST_PART_S = 2400
LAST_WORDS_S = 30
CLOSING = re.compile(r"\d+ (passed|failed|errors?|deselected)\b|no tests ran")  # pytest's last line


class Unavailable(Exception):
    """This machine lacks something that a part needs."""


@dataclass
class Part:
    """One call of pytest and its result."""

    name: str
    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    result: str = ""
    is_failed: bool = False
    python: str = sys.executable


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parts = on_other_pythons() if "--pythons" in arguments else [Part("unit, SQLite", UNIT)]
    if "--fast" in arguments or "--pythons" in arguments:
        for part in parts:
            run(part)
        return report(parts)
    with ExitStack() as stack:
        attempt(fetch_examples, "the tests with real GitHub payloads are skipped")
        url = attempt(lambda: stack.enter_context(postgresql_server()), "PostgreSQL is not tested")
        has_browser = attempt(find_browser, "browser tests are skipped")
        server = {"TEST_POSTGRESQL_URL": url} if url else {}
        skipped = "" if url else "skipped: no PostgreSQL"
        parts.append(Part("unit, PostgreSQL", UNIT, {"DATABASE_URL": url or ""}, skipped))
        parts.append(Part("cluster", [*BESIDE, "-m", "cluster and not browser"], server))
        parts.append(Part("browser", ["-n", "2", "-m", "browser"], {}, "" if has_browser else "skipped: no Chromium"))
        for part in parts:
            if not part.result:
                run(part)
    return report(parts)


# --- the needs of the parts


def attempt[T](provide: Callable[[], T], consequence: str) -> T | None:
    """Return what `provide` returns, or print the consequence of its failure and return None."""
    try:
        return provide()
    except (Unavailable, postgresql.Missing) as reason:
        print(f"!!! {reason}: {consequence}", flush=True)
        return None


def fetch_examples() -> None:
    """Fetch the real GitHub payloads that tests post, once."""
    folder = CACHE / "webhooks-examples"
    if (folder / "package.json").exists():
        return
    if not shutil.which("npm"):
        apt_install("npm")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as packed:
        quietly("npm", "pack", "--silent", "--pack-destination", packed, f"{EXAMPLES}@{EXAMPLES_VERSION}")
        with tarfile.open(next(Path(packed).glob("*.tgz"))) as archive:
            archive.extractall(packed, filter="data")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(Path(packed) / "package", folder)


@contextmanager
def postgresql_server() -> Iterator[str]:
    """Yield the URL of DATABASE_URL's server, or of a throw-away one without fsync: tests kill processes only."""
    given = os.environ.get("DATABASE_URL", "")
    if given.startswith("postgres"):
        yield given
        return
    try:
        postgresql.binaries()
    except postgresql.Missing:
        apt_install("postgresql-common")
        settings = Path("/etc/postgresql-common/createcluster.conf")
        settings.write_text(settings.read_text() + "\ncreate_main_cluster = false\n")  # only the programs are needed
        apt_install("postgresql")
    with postgresql.postgresql(is_durable=False) as url:
        yield url


def find_browser() -> bool:
    if chromium():
        return True
    try:
        apt_install("chromium", "fonts-liberation")
    except Unavailable:
        quietly(sys.executable, "-m", "playwright", "install", "chromium")
    return True


def on_other_pythons() -> list[Part]:
    """Return the unit tests on SQLite once more for each further Python of this machine that AgentOS supports."""
    parts, others = [], interpreters.others()
    for version in interpreters.SUPPORTED:
        if version == interpreters.OWN:
            continue
        if version not in others:
            print(f"!!! This machine has no Python {version}: it is not tested", flush=True)
            continue
        try:
            python = str(interpreters.environment(version, others[version]))
        except subprocess.CalledProcessError as error:
            print(f"!!! {' '.join(error.cmd[:4])} failed: Python {version} is not tested", flush=True)
        else:
            parts.append(Part(f"unit, Python {version}", UNIT, python=python))
    return parts


def apt_install(*packages: str) -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Unavailable(f"{packages[0]} is not installed, and only root can install it with apt")
    print(f"Installing {' '.join(packages)} ...", flush=True)
    quietly("apt-get", "update")
    quietly("apt-get", "install", "-y", "--no-install-recommends", *packages)


def quietly(*command: str) -> None:
    """Run a command; raise Unavailable with the end of its output when it fails."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
        raise Unavailable(f"{' '.join(command[:3])} failed ({last})")


# --- running the parts


def run(part: Part) -> None:
    """Run one part, print its output, and keep pytest's closing line."""
    print(f"\n=== {part.name}", flush=True)
    command = [part.python, "-m", "pytest", *part.arguments]
    if sys.stdout.isatty():
        command.append("--color=yes")
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | part.environment
    child = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    watchdog = threading.Timer(LONGEST_PART_S, child.send_signal, [signal.SIGINT])
    watchdog.start()
    try:
        part.result = pass_on(child) or "no output"
        part.is_failed = child.wait() != 0
    finally:
        watchdog.cancel()
        end(child)


def pass_on(child: subprocess.Popen[str]) -> str:
    last = ""
    assert child.stdout
    for line in child.stdout:
        print(line, end="", flush=True)
        if CLOSING.search(line):  # not always the last line: a thread of the product may print after it
            last = line.strip(" =\n")
    return last


def end(child: subprocess.Popen[str]) -> None:
    """Let pytest end what its fixtures started, then leave nothing of its group behind."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            child.wait(LAST_WORDS_S)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def report(parts: list[Part]) -> int:
    print("\n=== summary")
    for part in parts:
        print(f"{'FAILED' if part.is_failed else 'ok':<7}{part.name:<20}{part.result}")
    return int(any(part.is_failed for part in parts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
