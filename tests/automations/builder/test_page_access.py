"""Who may open the builder's pages, by which method, and what a page shows of a draft."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from projects.models import Project
from tests.support.builder import Pages

POSTS = [
    "settings/", "deactivate/", "discard/", "delete/", "toggle/", "duplicate/", "trigger/make/", "trigger/replace/",
    "trigger/rotate/", "trigger/remove-secret/", "trigger/test/", "steps/fetch/move/", "steps/fetch/duplicate/",
    "steps/fetch/delete/", "steps/fetch/disable/", "steps/fetch/test/",
]  # fmt: skip

PAGES = ["", "activate/", "trigger/", "add/0/", "steps/fetch/"]


@pytest.mark.parametrize("path", POSTS)
def test_verb_refuses_get(live: Pages, path: str) -> None:
    before = live.automation.draft_rev

    assert live.client.get(live.root + path).status_code == 405

    live.automation.refresh_from_db()
    assert live.automation.draft_rev == before
    assert live.automation.is_active


@pytest.mark.parametrize("path", POSTS + PAGES)
def test_automation_of_another_organization_is_not_found(live: Pages, stranger: User, path: str) -> None:
    foreign = Project.objects.get(name="Elsewhere")
    live.client.force_login(stranger)
    data = {"rev": str(live.automation.draft_rev), "name": live.automation.name, "anyway": "1"}

    assert live.client.post(live.root + path, data).status_code in (404, 405)
    assert live.client.post(f"/projects/{foreign.pk}/automations/{live.automation.pk}/{path}", data).status_code in (
        404,
        405,
    )
    if path in PAGES:
        assert live.client.get(live.root + path).status_code == 404

    live.automation.refresh_from_db()
    assert live.automation.is_active
    assert live.automation.deleted_at is None


def test_htmx_gets_the_builder_alone(live: Pages) -> None:
    headers = {"HX-Request": "true", "HX-Request-Type": "partial"}
    part = live.client.get(live.root + "steps/fetch/", headers=headers).content.decode()

    assert 'id="builder"' in part
    assert "<html" not in part
    assert (
        "<html"
        in live.client.get(live.root, headers={"HX-History-Restore-Request": "true", **headers}).content.decode()
    )


def test_markup_in_a_draft_is_shown_as_text(live: Pages) -> None:
    live.save(
        "fetch", {"input-method": "GET", "input-url": '"><script>alert(1)</script>'}, title="<i>T</i>", note="<u>N</u>"
    )

    page = live.get("steps/fetch/")
    assert "<script>alert" not in page
    assert "<i>T</i>" not in page
    assert "<u>N</u>" not in page
