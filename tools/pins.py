"""Pin every package with its hashes: `make pins` makes the two requirements.txt of the two requirements.in.

Versions that are pinned already stay, unless a requirements.in asks for others. A name with `--upgrade-package` before
it takes its newest release: `python tools/pins.py --upgrade-package orjson`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.programs import Unreachable, program  # noqa: E402  (the checkout is not installed)

UV = "uv==0.13.9"
OLDEST_PYTHON = "3.12"  # the pins hold from here up
BLOCK = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)==[^\n\\]*(?:\\\n[^\n\\]*)*\n", re.MULTILINE)
ELSEWHERE = "sys_platform == 'win32'"  # AgentOS runs on Linux and macOS
PRODUCT = "# What AgentOS runs on, with hashes. Made from requirements.in by `make pins`.\n"
DEVELOPMENT = (
    "# What working on AgentOS needs besides, with hashes. Made from requirements-dev.in by `make pins`.\n"
    "-r requirements.txt\n"
)


def main(options: list[str]) -> None:
    try:
        uv = program("uv", [UV])
    except Unreachable as reason:
        sys.exit(f"The packages could not be pinned: {reason}")
    product = compiled(uv, "requirements.in", options)
    write("requirements.txt", PRODUCT, product)
    development = compiled(uv, "requirements-dev.in", ["--constraints", "requirements.txt", *options])
    write("requirements-dev.txt", DEVELOPMENT, {name: development[name] for name in development.keys() - product})


def compiled(uv: Path, source: str, options: list[str]) -> dict[str, str]:
    """Return the lines of each package that the source needs, by name."""
    target = source.replace(".in", ".txt")
    command = [
        str(uv), "pip", "compile", "--quiet", "--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes",
        "--no-annotate", "--no-header", "--no-emit-index-url", *options, source, "--output-file", target,
    ]  # fmt: skip
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        sys.exit(f"The packages of {source} could not be pinned.")
    blocks = BLOCK.finditer((ROOT / target).read_text())
    return {block["name"]: block[0] for block in blocks if ELSEWHERE not in block[0]}


def write(target: str, head: str, blocks: dict[str, str]) -> None:
    (ROOT / target).write_text(head + "".join(blocks[name] for name in sorted(blocks)))
    print(f"wrote {target}: {len(blocks)} packages")


if __name__ == "__main__":
    main(sys.argv[1:])
