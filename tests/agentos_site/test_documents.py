"""The documents name files that exist, link to pages that exist, and keep the shape that they promise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = ROOT / "docs" / "decisions"
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w./-]+\.(py|md|html|css|js|toml|txt)")
FOLDER = re.compile(r"[a-z_]+(/[a-z_]+)*/")
NOT_YET = re.compile(r"var/|.*help_desk.*")  # made at run time, and the connector that a recipe writes
SECTIONS = ["Context", "Decision", "Figures", "What would overturn it"]


def documents() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@cache
def paths() -> frozenset[str]:
    """Return every file and folder (with a slash at its end) of the repository, from its root."""
    tops = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".") and path.name != "var"]
    found = [*ROOT.glob("*.*"), *tops, *(path for top in tops for path in top.rglob("*"))]
    return frozenset(str(path.relative_to(ROOT)) + ("/" if path.is_dir() else "") for path in found)


def is_there(name: str) -> bool:
    """Return whether a document may mean this: a path, or the end of one."""
    return NOT_YET.fullmatch(name) is not None or any(path == name or path.endswith(f"/{name}") for path in paths())


def missing_links(document: Path) -> Iterator[str]:
    for target in LINK.findall(FENCE.sub("", document.read_text())):
        file = target.partition("#")[0]
        if "://" not in target and file and not (document.parent / file).exists():
            yield target


def missing_files(document: Path) -> Iterator[str]:
    for code in CODE.findall(FENCE.sub("", document.read_text())):
        if (FILE.fullmatch(code) or FOLDER.fullmatch(code)) and not is_there(code):
            yield code


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_points_at_exists(document: Path) -> None:
    assert [*missing_links(document), *missing_files(document)] == []


def test_a_link_and_a_file_that_do_not_exist_are_seen(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("[a page](nowhere.md), `executions/nowhere.py`, `nowhere/`, `manage.py`, `intake/request.py`")

    assert list(missing_links(document)) == ["nowhere.md"]
    assert list(missing_files(document)) == ["executions/nowhere.py", "nowhere/"]


def test_the_architecture_is_one_page() -> None:
    words = (ROOT / "ARCHITECTURE.md").read_text().split()

    assert 700 <= len(words) <= 900


def test_the_map_names_folders_that_exist() -> None:
    block = FENCE.search((ROOT / "ARCHITECTURE.md").read_text())
    assert block
    named = re.findall(r"\b([a-z_]+)/", block[0])

    assert len(named) > 15
    assert [name for name in named if not is_there(f"{name}/")] == []


def test_every_decision_has_its_sections_and_its_line_in_the_index() -> None:
    index = (DECISIONS / "README.md").read_text()
    pages = sorted(DECISIONS.glob("[0-9]*.md"))

    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]}: "), page.name
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS, page.name
        assert f"[{page.name[:4]}]({page.name})" in index, page.name
