"""Write the reference pages: `make docs`. With `--check`, name those that are stale and write nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
os.environ.pop("EXTRA_CONNECTORS", None)  # an operator's own connectors are not this project's

from tools.reference import codes, configuration, connectors, sdk, third_party  # noqa: E402  (needs the lines above)
from tools.reference.markdown import Stale  # noqa: E402

MAKERS = (configuration.pages, codes.pages, connectors.pages, sdk.pages, third_party.pages)
DOCS = ROOT / "docs"
MEND = "run `make docs` and commit what it writes"


def pages(docs: Path) -> dict[Path, str]:
    """Return every generated page of a folder by its path, as it should be."""
    return {docs / name: text for make in MAKERS for name, text in make(docs).items()}


def stale(docs: Path) -> list[Path]:
    """Return the pages that are not as they should be, and those of connectors that are gone."""
    wanted = pages(docs)
    changed = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    return changed + [path for path in (docs / "connectors").glob("*.md") if path not in wanted]


def write(docs: Path) -> None:
    wanted = pages(docs)
    for path in stale(docs):
        if path not in wanted:
            path.unlink()
            continue
        path.parent.mkdir(exist_ok=True)
        path.write_text(wanted[path])
        print(f"wrote {path.relative_to(docs.parent)}")


def main(arguments: list[str], docs: Path = DOCS) -> int:
    try:
        if "--check" not in arguments:
            write(docs)
            return 0
        names = [str(path.relative_to(docs.parent)) for path in stale(docs)]
    except Stale as error:
        sys.exit(str(error))
    if names:
        print(f"stale: {', '.join(names)}; {MEND}")
    return bool(names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
