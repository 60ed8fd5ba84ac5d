"""Markup as a reader sees it, however its template is laid out."""

from __future__ import annotations

import re

RUN = re.compile(r"\s+")
BESIDE_A_TAG = re.compile(r"(?<=>) | (?=[<>])")


def compact(html: str) -> str:
    """Return the markup with one space for each run of white space, and none beside a tag."""
    return BESIDE_A_TAG.sub("", RUN.sub(" ", html))
