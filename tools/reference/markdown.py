"""Markdown, as the generated pages need it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence


class Stale(Exception):
    """A page cannot be made; the text says what to do."""


def made_from(source: str) -> str:
    return f"<!-- Made by `make docs` from {source}: change that, not this page. -->"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a cell's bars are escaped, which holds inside code too."""
    lines = [_line(heads), _line(["---"] * len(heads)), *(_line(row) for row in rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def code(text: object) -> str:
    return f"`` {text} ``" if "`" in str(text) else f"`{text}`"


def example(value: object) -> str:
    """Return a value as a block of JSON."""
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```"


def page(*parts: str) -> str:
    """Return paragraphs with an empty line between them; empty ones are left out."""
    return "\n\n".join(part for part in parts if part) + "\n"


def replaced(text: str, name: str, source: str, content: str, *, of: str) -> str:
    """Return a hand-written page with the part between its markers `name` made anew; raise Stale without markers."""
    start, end = f"<!-- {name}: made by `make docs` from {source} -->", f"<!-- end of {name} -->"
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise Stale(f"docs/{of} lacks the markers\n{start}\n{end}")
    return f"{before}{start}\n{content}\n{end}{after}"
