"""Check the subjects of commits: `python tools/commits.py`, or with the file of one message, as git's commit-msg hook.

A subject is `area: imperative`, at most 72 characters: `mail: treat gaierror as not sent`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SINCE = "2026-11-27T16:10:00Z"  # earlier commits were made without this check
LONGEST = 72
SHAPE = re.compile(r"[\w./-]+(,? [\w./-]+)*: [^\s\WA-Z].*[^.\s]")
NOT_OURS = ("Merge ", "Revert ", "fixup! ", "squash! ")  # git's own words


def fault(subject: str) -> str:
    """Return the fault of a subject in words, or an empty text."""
    if subject.startswith(NOT_OURS):
        return ""
    if len(subject) > LONGEST:
        return f"{len(subject)} characters, {LONGEST} at most"
    return "" if SHAPE.fullmatch(subject) else "not `area: imperative`"


def git(*arguments: str) -> str:
    """Return what git prints; raise OSError when there is no git, or no history here."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError((done.stderr.strip() or "no word").splitlines()[0])
    return done.stdout


def subjects() -> list[str]:
    """Return the subjects of the commits since the check began; a shallow clone knows fewer."""
    return git("log", "--no-merges", "--format=%s", f"--since-as-filter={SINCE}").splitlines()


def main(arguments: list[str]) -> int:
    try:
        found = [Path(arguments[0]).read_text().partition("\n")[0]] if arguments else subjects()
    except OSError as reason:
        print(f"!!! {reason}: commit subjects are not checked")
        return 0
    wrong = [f"{subject}: {what}" for subject in found if (what := fault(subject))]
    print("\n".join(wrong) or f"{len(found)} subjects are well-formed")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
