"""A disk that is full: nothing half stored, nobody told anything else, and it goes on when there is room."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from executions.states import Status
from harness.automations import AUTOMATIONS, make
from harness.installation import Installation, copy_of
from harness.processes import until

SIZE_MB = 24


@pytest.fixture
def on_small_disk(prepared: Installation, tmp_path: Path) -> Iterator[Installation]:
    """Return an installation with SQLite on a disk of its own, nothing started."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(disk)]
    try:
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("only root may mount a small disk, and not in every container")
    except FileNotFoundError:
        pytest.skip("mount is not installed")
    try:
        with copy_of(prepared, disk) as copy:
            yield copy
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as out, suppress(OSError):
        while out.write(b"x" * 4096):
            pass


def test_a_full_disk_answers_503_stores_nothing_and_goes_on_when_there_is_room(on_small_disk: Installation) -> None:
    on_small_disk.start()
    made = make(on_small_disk, AUTOMATIONS)
    accepted = [made.start("wait")]
    filler = on_small_disk.directory / "filler"

    def post(size: int) -> Any:
        """Return the refusal of a post, or None when it is accepted."""
        status, answer = made.post("transform", {"name": "a" * size})
        if status != 202:
            return status, answer["error"]["code"], answer["error"]["message"]
        accepted.append(uuid.UUID(answer["execution_id"]))
        return None

    fill(filler)
    status, code, message = until(lambda: post(size=200_000), what="a refusal")

    assert (status, code) == (503, "unavailable")
    assert message.endswith("Nothing was stored: send the request again.")
    until(lambda: on_small_disk.why_not_ready() == "The disk of the database is full.", what="/readyz says so")
    filler.unlink()
    until(lambda: post(size=3) is None, what="requests are accepted again")
    assert {made.wait(one)["status"] for one in accepted} == {Status.SUCCESS}
    assert made.executions == len(accepted)
