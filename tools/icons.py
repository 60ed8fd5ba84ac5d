"""Write static/icons.svg, the sprite of every icon the templates may name: `python tools/icons.py`. Needs `lucide`."""

from __future__ import annotations

import re
from pathlib import Path
from zipfile import ZipFile

import lucide

SPRITE = Path(__file__).resolve().parent.parent / "static" / "icons.svg"
NAMES = """
activity archive arrow-down arrow-left arrow-right arrow-up arrow-up-right ban bell bot box boxes braces
building-2 calendar chart-column check check-check chevron-down chevron-left chevron-right chevron-up chevrons-up-down
circle circle-alert circle-check circle-check-big circle-dashed circle-question-mark circle-off circle-pause circle-play circle-plus
circle-stop circle-x clipboard clock cloud code code-xml cog copy cpu credit-card database download ellipsis
ellipsis-vertical external-link eye eye-off file-text funnel flask-conical folder gauge git-branch git-fork
globe grip-vertical hash history hourglass house inbox info key-round keyboard layers layout-grid life-buoy lightbulb link
list list-filter list-ordered loader-circle lock log-in log-out mail menu message-square minus monitor moon
mouse-pointer-click network package panels-top-left pause pencil play plug plus power power-off refresh-cw repeat repeat-2 replace reply
rocket rotate-ccw rotate-cw route save scan-search scroll-text search send server server-off settings shield shield-alert
shield-check shuffle sliders-horizontal sparkles split square square-arrow-out-up-right square-terminal
sun tag terminal test-tube timer timer-reset toggle-left toggle-right trash-2 trending-up triangle-alert unplug upload
user user-plus users variable wand-sparkles waypoints webhook workflow text-wrap file-braces wrench x zap
""".split()
ROOT = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)
HEAD = "<!-- Icons by Lucide (lucide.dev), ISC licence; made by tools/icons.py. -->"
STROKE = 'fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round"'


def symbol(name: str, drawing: str) -> str:
    found = ROOT.search(drawing)
    assert found, name
    shapes = re.sub(r"\s*\n\s*", "", found[1]).replace(" />", "/>")
    return f'<symbol id="{name}" viewBox="0 0 24 24" {STROKE}>{shapes}</symbol>'


def main() -> None:
    with ZipFile(Path(lucide.__file__).with_name("lucide.zip")) as archive:
        known = set(archive.namelist())
        missing = [name for name in NAMES if f"{name}.svg" not in known]
        if missing:
            raise SystemExit(f"Lucide has no {', '.join(missing)}.")
        symbols = [symbol(name, archive.read(f"{name}.svg").decode()) for name in sorted(set(NAMES))]
    SPRITE.write_text("\n".join(['<svg xmlns="http://www.w3.org/2000/svg">', HEAD, *symbols, "</svg>", ""]))


if __name__ == "__main__":
    main()
