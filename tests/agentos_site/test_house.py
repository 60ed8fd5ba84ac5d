"""The rules of the house that no linter knows: sizes of files, folders and functions, and imports without circles."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
PACKAGES = ("agentos_site", "executions", "automations", "projects", "connectors")
FOLDERS = (*PACKAGES, "bench", "chaos", "harness", "static", "templates", "tests", "tools")
FILE_LINES, FOLDER_MODULES, FUNCTION_LINES = 300, 25, 50


def files(*suffixes: str) -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            ours = not {"vendor", "migrations", ".cache", "__pycache__"} & set(path.parts)
            if ours and path.suffix in suffixes:
                yield path.relative_to(ROOT)


def lines_of(path: Path) -> int:
    return len((ROOT / path).read_text().splitlines())


def test_no_file_is_longer_than_a_reader_holds() -> None:
    long = {str(path): lines_of(path) for path in files(".py", ".js", ".css", ".html") if lines_of(path) > FILE_LINES}

    assert long == {}


def test_no_folder_has_more_modules_than_a_reader_scans() -> None:
    counts = Counter(str(path.parent) for path in files(".py"))

    assert {folder: count for folder, count in counts.items() if count > FOLDER_MODULES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        f"{path}:{node.lineno}": node.name
        for path in files(".py")
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= FUNCTION_LINES
    }

    assert long == {}


def test_no_import_goes_in_a_circle() -> None:
    """Imports for type checkers count too: a reader follows them just the same."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}

    try:
        TopologicalSorter(imports).prepare()
    except CycleError as circle:
        pytest.fail(" imports ".join(reversed(circle.args[1])))
