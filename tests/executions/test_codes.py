"""The tables of codes against the code: what is raised is declared, with its status, and what is declared is raised.

The product's source is read, because most codes are raised where only a broken world leads.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.registry import CONNECTORS
from connectors.sdk.call import StepError
from executions import codes
from executions.states import Status

ROOT = Path(__file__).resolve().parent.parent.parent
CODE = re.compile(r"[a-z]+(_[a-z]+|_<status>)*")
CODE_KEYWORDS = {"code", "reason_code", "error_code"}


def trees(*places: str) -> Iterator[ast.Module]:
    for place in places:
        path = ROOT / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            yield ast.parse(file.read_text())


def calls(*places: str) -> Iterator[ast.Call]:
    for tree in trees(*places):
        yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def name_of(call: ast.Call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def texts(node: ast.expr) -> list[str]:
    """Return the texts that an expression can be, as far as its source says; a varying part as `<name>`."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp():
            return texts(node.body) + texts(node.orelse)
        case ast.JoinedStr():
            parts = [p.value if isinstance(p, ast.Constant) else f"<{ast.unparse(p.value)}>" for p in node.values]  # type: ignore[attr-defined]
            return [re.sub(r"<(?:\w+\.)*", "<", "".join(map(str, parts)))]
        case _:
            return []


def answers(*places: str) -> set[tuple[int, str]]:
    """Return every status that is followed by a code in a call's arguments."""
    found: set[tuple[int, str]] = set()
    for call in calls(*places):
        for before, after in zip(call.args, call.args[1:], strict=False):
            if isinstance(before, ast.Constant) and isinstance(before.value, int) and 200 <= before.value < 600:
                found |= {(before.value, text) for text in texts(after)}
    return found


def declared(table: tuple[codes.Answer, ...]) -> set[tuple[int, str]]:
    return {(answer.status, answer.code) for answer in table}


def keyword_codes(*places: str) -> set[str]:
    found: set[str] = set()
    for call in calls(*places):
        for keyword in call.keywords:
            if keyword.arg in CODE_KEYWORDS:
                found.update(texts(keyword.value))
    return found - {""}


def strings(*places: str) -> set[str]:
    nodes = (node for tree in trees(*places) for node in ast.walk(tree))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_trigger_urls_answer_the_declared_codes_and_no_others() -> None:
    assert answers("executions/intake") == declared(codes.TRIGGER_URL) | declared(codes.RECEIPTS)


def test_api_answers_the_declared_codes_and_no_others() -> None:
    assert answers("executions/api") == declared(codes.API) - declared(codes.RETRY)


@pytest.mark.parametrize("place", ["executions/intake", "executions/api"])
def test_every_refusal_names_its_code_where_it_is_raised(place: str) -> None:
    refusals = [call for call in calls(place) if name_of(call) in ("Refused", "ApiError")]
    hidden = [ast.unparse(call) for call in refusals if not texts(call.args[1])]

    assert len(refusals) > 5
    assert hidden in ([], ["ApiError(409, refused.code, refused.sentence)"])  # the API repeats the retry's


def test_retries_are_refused_with_the_declared_codes_and_no_others() -> None:
    raised = [
        text for call in calls("executions/models") if name_of(call) == "RetryRefused" for text in texts(call.args[0])
    ]

    assert set(raised) == {answer.code for answer in codes.RETRY}


def test_executions_end_with_declared_reasons() -> None:
    """Codes by keyword, and those that follow a status as in `_move(Status.REJECTED, "time_limit", ...)`."""
    places = ("executions/runner", "executions/engine", "executions/store")
    found = keyword_codes(*places)
    for call in calls(*places):
        for before, after in zip(call.args, call.args[1:], strict=False):
            if ast.unparse(before).startswith("Status.") or name_of(call) in ("_failed", "Verdict"):
                found.update(text for text in texts(after) if CODE.fullmatch(text))

    assert found
    assert found <= {reason.code for reason in codes.REASONS}


def test_declared_reasons_are_given() -> None:
    rooms = ("runner", "engine", "store", "ports", "housekeeping")
    given = strings(*(f"executions/{room}" for room in rooms), "executions/stop.py", "connectors")

    assert {reason.code for reason in codes.REASONS} <= given | {StepError("x").code}
    assert {reason.status for reason in codes.REASONS} <= {status.label for status in Status}


def test_connectors_fail_with_the_codes_that_they_declare_and_no_others() -> None:
    actions = [action for connector in CONNECTORS.values() for action in connector.actions]
    named = {failure.code for action in actions for failure in action.errors}

    met_by_any = {reason.code for reason in codes.STEP} | {code for _, code in declared(codes.TRIGGER_URL)}

    assert keyword_codes("connectors", "executions/ports") - met_by_any == named


@pytest.mark.parametrize("table", [codes.TRIGGER_URL, codes.API, codes.RECEIPTS, codes.REASONS], ids=str)
def test_a_code_stands_once_in_its_table(table: tuple[codes.Answer | codes.Reason, ...]) -> None:
    names = [row.code for row in table]

    assert len(names) == len(set(names))
    assert all(CODE.fullmatch(name) for name in names)
