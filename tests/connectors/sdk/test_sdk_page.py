"""The SDK's promises: its page's example is a connector, and operators' connectors need nothing else of the product."""

from __future__ import annotations

import ast
import asyncio
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from connectors.sdk.call import Call, HttpResponse, StepError
from connectors.sdk.check import check_input
from harness import faulty
from tests.support.acting import COMPUTE, Outbox

ROOT = Path(__file__).resolve().parent.parent.parent.parent
EXAMPLE = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "connector-sdk.md").read_text(), re.DOTALL)[0]
PACKAGES = ("agentos_site", "automations", "connectors", "executions", "projects")


class HelpDesk:
    """The service of the example, which has a ticket about rain already."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    async def request(self, method: str, url: str, **more: Any) -> HttpResponse:
        self.asked.append((method, url, more))
        status = 409 if b"rain" in more["body"] else 201
        return HttpResponse(status=status, headers={"content-type": "application/json"}, body=b'{"id": 7}', url=url)


def test_example_of_the_page_is_a_connector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tickets.py").write_text(EXAMPLE)
    monkeypatch.syspath_prepend(tmp_path)
    action, desk = import_module("tickets").CONNECTOR.action("open"), HelpDesk()

    def run(subject: str) -> Any:
        given = action.input.model_validate({"subject": subject})
        return asyncio.run(
            action.run(Call(input=given, idempotency_key="key", http=desk, mail=Outbox(), compute=COMPUTE))
        )

    assert run("Sun") == {"ticket": {"id": 7}}
    assert desk.asked[0][2]["headers"]["idempotency-key"] == "key"
    with pytest.raises(StepError, match="already") as failed:
        run("rain")
    assert failed.value.code in {failure.code for failure in action.errors}
    assert [problem.field for problem in check_input(action, {"subject": ""})] == ["subject"]


def imports(source: str) -> set[str]:
    """Return the modules of this project that a source imports."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name for name in names if name.split(".")[0] in PACKAGES}


@pytest.mark.parametrize("source", [EXAMPLE, Path(faulty.__file__).read_text()], ids=["example", "faulty"])
def test_connector_of_an_operator_imports_the_sdk_alone(source: str) -> None:
    assert imports(source)
    assert all(name.startswith("connectors.sdk") for name in imports(source))
