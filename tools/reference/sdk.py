"""The names in docs/connector-sdk.md, with the first paragraph of their docstrings."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType

from tools.reference.markdown import code, replaced, table

# In the order in which one meets them.
MODULES = ("call", "fields", "answer", "failures", "mapping", "conditions", "exact_json", "check", "language")


def pages(docs: Path) -> dict[str, str]:
    modules = [import_module(f"connectors.sdk.{name}") for name in MODULES]
    parts = [f"### {code(module.__name__)}\n\n{first_paragraph(module)}\n\n{_table(module)}" for module in modules]
    text = (docs / "connector-sdk.md").read_text()
    return {"connector-sdk.md": replaced(text, "names", "connectors/sdk/", "\n\n".join(parts), of="connector-sdk.md")}


def public_names(module: ModuleType) -> dict[str, object]:
    """Return the classes and functions that a module defines for others, in its order."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    }


def first_paragraph(of: object) -> str:
    """Return the first paragraph of a docstring in one line; nothing where it is a base's, or a dataclass wrote it."""
    said = inspect.cleandoc((vars(of).get("__doc__") if inspect.isclass(of) else of.__doc__) or "")
    name = getattr(of, "__name__", "")
    return "" if said.startswith(f"{name}(") else " ".join(said.split("\n\n")[0].split())


def _table(module: ModuleType) -> str:
    rows = [[code(name), first_paragraph(value)] for name, value in public_names(module).items()]
    if not rows:
        constants = ", ".join(code(name) for name in vars(module) if name.isupper())
        return f"Constants: {constants}."
    return table(["Name", "Meaning"], rows)
