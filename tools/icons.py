"""Write static/icons.svg, the sprite of every icon that is named somewhere: `python tools/icons.py`. Needs `lucide`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from zipfile import ZipFile

import lucide

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from connectors.registry import CONNECTORS  # noqa: E402  (the checkout is not installed)
from projects.templatetags.ui import STATUS_ICONS  # noqa: E402

SPRITE = ROOT / "static" / "icons.svg"
SOURCES = ("agentos_site", "executions", "automations", "projects", "connectors", "templates", "static/js")
PLACES = {  # where a file names an icon
    ".html": re.compile(r"\{% icon [^%]*%\}"),
    ".py": re.compile(r".*\bicon\b.*"),
    ".js": re.compile(r".*\bicon\b.*"),
}
QUOTED = re.compile(r'"([a-z0-9-]+)"')
DRAWING = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)
HEAD = "<!-- Icons by Lucide (lucide.dev), ISC licence; made by tools/icons.py. -->"
STROKE = 'fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round"'


def named() -> set[str]:
    """Return every word that may name an icon: those of the statuses, and those quoted where an icon is drawn."""
    return {*STATUS_ICONS.values(), *(name for place in _places() for name in QUOTED.findall(place))}


def _places() -> Iterator[str]:
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in PLACES:
                yield from PLACES[path.suffix].findall(path.read_text())


def drawings() -> dict[str, str]:
    """Return Lucide's drawing of each named icon; words that name none are left out."""
    with ZipFile(Path(lucide.__file__).with_name("lucide.zip")) as archive:
        known = set(archive.namelist())
        return {name: archive.read(f"{name}.svg").decode() for name in sorted(named()) if f"{name}.svg" in known}


def check_connectors(drawn: Iterable[str]) -> None:
    """End with a sentence when a connector names an icon that Lucide does not have."""
    wrong = [f"{one.key}: “{one.icon}”" for one in CONNECTORS.values() if one.icon not in drawn]
    if wrong:
        sys.exit(f"Lucide has no such icon: {', '.join(wrong)}. See https://lucide.dev/icons/.")


def symbol(name: str, drawing: str) -> str:
    found = DRAWING.search(drawing)
    assert found, name
    shapes = re.sub(r"\s*\n\s*", "", found[1]).replace(" />", "/>")
    return f'<symbol id="{name}" viewBox="0 0 24 24" {STROKE}>{shapes}</symbol>'


def main() -> None:
    drawn = drawings()
    check_connectors(drawn)
    symbols = [symbol(name, drawing) for name, drawing in drawn.items()]
    SPRITE.write_text("\n".join(['<svg xmlns="http://www.w3.org/2000/svg">', HEAD, *symbols, "</svg>", ""]))


if __name__ == "__main__":
    main()
