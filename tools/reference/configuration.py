"""docs/configuration.md, from the list of settings."""

from __future__ import annotations

from pathlib import Path

from agentos_site.environment import GROUPS
from agentos_site.setting_kinds import Group, Setting
from tools.reference.markdown import code, made_from, page, table

INTRODUCTION = """\
Everything comes from variables of the environment. The defaults run a private installation on this machine; an
installation in production sets `BASE_URL` and, most often, `DATABASE_URL`, `EMAIL_URL` and `TRUST_PROXY`. An empty
variable counts as one that is not set. AgentOS does not start with a value that breaks its rule, and says which."""


def pages(docs: Path) -> dict[str, str]:
    groups = [part for group in GROUPS for part in (f"## {group.title}", _table(group))]
    rules = table(
        ["Variable", "Must be"],
        [
            [code(setting.name), setting.kind.rule]
            for group in GROUPS
            for setting in group.settings
            if _has_rule(setting)
        ],
    )
    parts = ["# Configuration", made_from("agentos_site/environment.py"), INTRODUCTION, *groups, "## Rules", rules]
    return {"configuration.md": page(*parts)}


def _table(group: Group) -> str:
    rows = [[code(setting.name), default(setting), setting.meaning] for setting in group.settings]
    return table(["Variable", "Default", "Meaning"], rows)


def _has_rule(setting: Setting[object]) -> bool:
    return setting.kind.name not in ("text", "folder")


def default(setting: Setting[object]) -> str:
    if setting.default_in_words:
        return setting.default_in_words
    match setting.default:
        case bool():
            return code("1" if setting.default else "0")
        case "":
            return "empty"
        case float() if setting.default.is_integer():
            return code(int(setting.default))
        case _:
            return code(setting.default)
