"""The tables of codes in docs/trigger-urls.md and docs/api.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from executions.codes import API, REASONS, RECEIPTS, TRIGGER_URL, Answer
from tools.reference.markdown import code, replaced, table

SOURCE = "executions/codes.py"


def pages(docs: Path) -> dict[str, str]:
    return {
        "trigger-urls.md": _page(docs / "trigger-urls.md", {"refusals": _answers(TRIGGER_URL)}),
        "api.md": _page(
            docs / "api.md",
            {
                "errors": _answers(API),
                "receipt codes": _answers(RECEIPTS),
                "reason codes": table(
                    ["Status", "`reason_code`", "Meaning"],
                    [[reason.status, code(reason.code), reason.meaning] for reason in REASONS],
                ),
            },
        ),
    }


def _page(path: Path, tables: dict[str, str]) -> str:
    text = path.read_text()
    for name, content in tables.items():
        text = replaced(text, name, SOURCE, content, of=path.name)
    return text


def _answers(answers: Sequence[Answer]) -> str:
    rows = [[str(answer.status), code(answer.code), answer.meaning] for answer in answers]
    return table(["Status", "Code", "When"], rows)
