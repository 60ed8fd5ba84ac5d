"""Another checkout of the product, measured with the harness and the measures of this one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.processes import ROOT

OURS = ("bench", "harness", ".venv")


@contextmanager
def overlay(checkout: Path | None) -> Iterator[Path]:
    """Yield a folder that holds the other checkout's product beside our bench; without one, our own folder.

    Its processes run with our interpreter and packages.
    """
    if checkout is None:
        yield ROOT
        return
    with TemporaryDirectory(prefix="agentos-checkout-") as folder:
        for part in checkout.resolve().iterdir():
            if part.name not in OURS:
                (Path(folder) / part.name).symlink_to(part)
        for name in OURS[:2]:
            (Path(folder) / name).symlink_to(ROOT / name)
        yield Path(folder)
