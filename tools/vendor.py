"""Fetch the vendored browser libraries from npm: `python tools/vendor.py`. Needs npm; running the product does not."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

VENDOR = Path(__file__).resolve().parent.parent / "static" / "vendor"
# collectstatic fails on a source map that is named but not there.
SOURCE_MAP = re.compile(rb"^//# sourceMappingURL=.*\n?", re.MULTILINE)


class Library(NamedTuple):
    package: str
    version: str
    files: dict[str, str]

    @property
    def folder(self) -> str:
        return f"{self.package.split('/')[-1].removesuffix('.org')}-{self.version}"


LIBRARIES = [
    Library("htmx.org", "4.0.1", {"dist/htmx.min.js": "htmx.min.js", "LICENSE": "LICENSE"}),
    Library("@github/relative-time-element", "5.3.1", {"dist/bundle.js": "relative-time.js", "LICENSE": "LICENSE"}),
    Library(
        "@fontsource-variable/inter",
        "5.3.0",
        {
            "files/inter-latin-wght-normal.woff2": "inter-latin.woff2",
            "files/inter-latin-ext-wght-normal.woff2": "inter-latin-ext.woff2",
            "LICENSE": "LICENSE",
        },
    ),
]


def pack(library: Library, folder: str) -> Path:
    command = ["npm", "pack", "--silent", "--pack-destination", folder, f"{library.package}@{library.version}"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(folder) / answer.stdout.strip().splitlines()[-1]


def copy(library: Library) -> dict[str, str]:
    """Copy the listed files of one package and return their hashes by path below the vendor folder."""
    target = VENDOR / library.folder
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    hashes = {}
    with tempfile.TemporaryDirectory() as folder, tarfile.open(pack(library, folder)) as archive:
        for source, name in library.files.items():
            member = archive.extractfile(f"package/{source}")
            assert member is not None, source
            content = member.read()
            if name.endswith(".js"):
                content = SOURCE_MAP.sub(b"", content)
            (target / name).write_bytes(content)
            hashes[f"{library.folder}/{name}"] = hashlib.sha256(content).hexdigest()
    return hashes


def main() -> None:
    entries = [
        {"package": library.package, "version": library.version, "sha256": copy(library)} for library in LIBRARIES
    ]
    (VENDOR / "vendor.json").write_text(json.dumps(entries, indent=2) + "\n")


if __name__ == "__main__":
    main()
