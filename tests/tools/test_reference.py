"""The generated pages of docs/: up to date, named when they are not, and complete."""

from __future__ import annotations

import re
import shutil
from importlib import import_module
from pathlib import Path

import pytest

from agentos_site.environment import GROUPS
from connectors.registry import CONNECTORS
from tools.reference import sdk, third_party
from tools.reference.__main__ import DOCS, main, stale
from tools.reference.markdown import Stale


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """Return a copy of docs/, in which the links into the rest of the repository lead nowhere."""
    return Path(shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("screenshots")))


def test_pages_are_as_the_code_says() -> None:
    assert stale(DOCS) == [], "run `make docs`"


@pytest.mark.parametrize(
    ("name", "said", "instead"),
    [
        ("configuration.md", "`8000`", "`8001`"), ("connectors/http.md", "`method`", "`verb`"),
        ("api.md", "| 409 | `trigger_replaced`", "| 410 | `trigger_replaced`"),
        ("trigger-urls.md", "| 400 | `too_deep`", "| 400 | `deep`"), ("third-party.md", "| orjson |", "| ujson |"),
        ("connector-sdk.md", "`Comparison`", "`Compared`"),
    ],
)  # fmt: skip
def test_stale_page_is_named_with_the_command_that_mends_it(
    docs: Path, capsys: pytest.CaptureFixture[str], name: str, said: str, instead: str
) -> None:
    text = (docs / name).read_text()
    assert said in text
    (docs / name).write_text(text.replace(said, instead))

    assert main(["--check"], docs) == 1
    assert capsys.readouterr().out == f"stale: docs/{name}; run `make docs` and commit what it writes\n"

    main([], docs)
    assert (docs / name).read_text() == text
    assert main(["--check"], docs) == 0


def test_page_of_a_connector_that_is_gone_goes_too(docs: Path) -> None:
    (docs / "connectors" / "gone.md").write_text("# Gone\n")

    assert stale(docs) == [docs / "connectors" / "gone.md"]
    main([], docs)
    assert not (docs / "connectors" / "gone.md").exists()


def test_hand_written_page_without_its_markers_is_refused(docs: Path) -> None:
    (docs / "api.md").write_text("# API v1\n")

    with pytest.raises(Stale, match=r"docs/api.md lacks the markers"):
        stale(docs)


def test_links_between_pages_lead_somewhere() -> None:
    for page in DOCS.rglob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)[^):]*\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_field_of_a_connector_has_a_line() -> None:
    for connector in CONNECTORS.values():
        page = (DOCS / "connectors" / f"{connector.key}.md").read_text()
        models = [*(action.input for action in connector.actions), *(event.config for event in connector.events)]
        assert all(f"| `{name}` |" in page for model in models for name in model.model_fields)


def test_every_setting_has_a_meaning_that_ends() -> None:
    assert all(setting.meaning.endswith(".") for group in GROUPS for setting in group.settings)


@pytest.mark.parametrize("module", sdk.MODULES)
def test_public_names_of_the_sdk_say_what_they_are(module: str) -> None:
    found = import_module(f"connectors.sdk.{module}")

    assert sdk.first_paragraph(found)
    assert [name for name, value in sdk.public_names(found).items() if not sdk.first_paragraph(value)] == []


@pytest.mark.parametrize(
    ("expression", "text", "classifiers", "licence"),
    [
        ("Apache-2.0 AND MIT", None, [], "Apache-2.0 AND MIT"), (None, "MIT License", [], "MIT"),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", "x", [], "MPL-2.0 AND (Apache-2.0 OR MIT)"),
        (None, "a whole text\nof a licence", ["License :: OSI Approved :: BSD License"], "BSD"),
        (None, None, ["Topic :: X", "License :: OSI Approved :: MIT License"], "MIT"), (None, None, [], "not stated"),
    ],
)  # fmt: skip
def test_licence_is_what_the_package_says_most_exactly(
    expression: str | None, text: str | None, classifiers: list[str], licence: str
) -> None:
    assert third_party.licence_of(expression, text, classifiers) == licence


def test_licence_of_a_package_that_this_machine_lacks_stays(tmp_path: Path) -> None:
    page = "| Package | Version | Licence |\n| --- | --- | --- |\n| no-such-package | 1.0 | MIT OR Apache-2.0 |\n"
    known = third_party.licences_on(page)

    assert third_party.licence("no-such-package", "1.0", known) == "MIT OR Apache-2.0"
    assert third_party.licence("orjson", "0.0.1", {("orjson", "0.0.1"): "MIT"}) == "MIT", "another version is here"
    with pytest.raises(Stale, match="`make venv-dev` installs it"):
        third_party.licence("no-such-package", "1.1", known)
