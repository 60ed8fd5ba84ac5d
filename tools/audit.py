"""Ask whether a pinned package has a known hole: `make audit`. Fails for a hole, and only then.

Without a way to the package index it says so and ends well: continuous integration must not depend on it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.programs import Unreachable, program  # noqa: E402  (the checkout is not installed)

PIP_AUDIT = "pip-audit==2.10.1"
AUDIT_S = 180


def main(requirements: list[str]) -> int:
    try:
        found = audited([Path(name) for name in requirements or ("requirements.txt", "requirements-dev.txt")])
    except Unreachable as reason:
        print(f"audit: skipped, {reason}")
        return 0
    for package in found:
        for hole in package["vulns"]:
            fixed = ", ".join(hole["fix_versions"]) or "no release yet"
            print(f"audit: {package['name']} {package['version']}: {hole['id']}, mended in {fixed}")
    print(f"audit: {len(found)} packages with known holes" if found else "audit: no known hole")
    return bool(found)


def audited(files: list[Path]) -> list[dict[str, Any]]:
    """Return the packages with known holes; raise Unreachable when nobody could be asked."""
    named = [word for file in files for word in ("--requirement", str(file))]
    command = [str(program("pip-audit", [PIP_AUDIT])), *named, "--disable-pip", "--format", "json"]
    command += ["--progress-spinner", "off", "--timeout", "15"]
    try:
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=AUDIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise Unreachable("the index of known holes is too slow") from None
    try:
        packages = json.loads(said.stdout)["dependencies"]
    except (ValueError, KeyError):
        raise Unreachable(f"the index of known holes gave no answer: {said.stderr.strip()[-200:]}") from None
    return [package for package in packages if package.get("vulns")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
