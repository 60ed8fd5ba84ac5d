from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from automations.models import Automation, Trigger
from projects.ids import new_id
from projects.models import Project

OPTIONS = {"on_error": "stop", "retry_times": "0", "retry_backoff_s": "5", "time_limit_s": "", "if_interrupted": ""}


class Pages:
    """What a builder does to one automation through its pages."""

    def __init__(self, client: Client, automation: Automation) -> None:
        self.client = client
        self.automation = automation
        self.root = f"/projects/{automation.project_id}/automations/{automation.pk}/"

    def get(self, path: str = "") -> str:
        answer = self.client.get(self.root + path)
        assert answer.status_code == 200
        return answer.content.decode()

    def post(self, path: str, data: dict[str, Any] | None = None, *, rev: int | None = None) -> Any:
        """Send a form as the page of now would, or one of an older draft."""
        self.automation.refresh_from_db()
        sent = {"rev": str(rev or self.automation.draft_rev), **(data or {})}
        answer = self.client.post(self.root + path, sent)
        self.automation.refresh_from_db()
        return answer

    def save(self, key: str, data: dict[str, Any], *, rev: int | None = None, **options: str) -> Any:
        form = {"key": key, "title": "", "note": "", **OPTIONS, **options}
        return self.post(f"steps/{key}/", {f"step-{name}": value for name, value in form.items()} | data, rev=rev)

    @property
    def keys(self) -> list[str]:
        return [step.key for step in self.automation.definition.steps]

    def step(self, key: str) -> Any:
        return self.automation.definition.find(key)


@pytest.fixture
def client(client: Client, builder: User) -> Client:
    client.force_login(builder)
    return client


@pytest.fixture
def draft(client: Client, project: Project) -> Pages:
    """Return the pages of an automation that has nothing yet."""
    uid = str(new_id())
    client.post(f"/projects/{project.pk}/automations/new/", {"uid": uid, "name": "Draft"})
    return Pages(client, Automation.objects.get(pk=uid))


@pytest.fixture
def live(client: Client, automation: Automation) -> Pages:
    return Pages(client, automation)


def test_automation_is_built_and_activated_by_forms_alone(draft: Pages) -> None:
    draft.post("trigger/make/", {"event": "http.request"})
    draft.post("add/0/", {"action": "http.request"})
    key = draft.keys[0]
    draft.save(key, {"input-method": "GET", "input-url": "https://example.com/{{ trigger.body.id }}"}, title="Fetch it")
    draft.post("activate/", {"anyway": "1"})

    assert draft.automation.is_active
    version = draft.automation.live_version
    assert version is not None
    assert version.definition["steps"][0]["input"]["url"] == "https://example.com/{{ trigger.body.id }}"
    assert version.definition["steps"][0]["title"] == "Fetch it"
    assert "Version 1 is live" in draft.get()


def test_one_automation_is_made_when_its_form_is_sent_twice(client: Client, project: Project) -> None:
    sent = {"uid": str(new_id()), "name": "Twice"}

    answers = [client.post(f"/projects/{project.pk}/automations/new/", sent) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [302, 302]
    assert Automation.objects.filter(name="Twice").count() == 1


def test_name_is_refused_when_already_used(client: Client, automation: Automation, draft: Pages) -> None:
    new = client.post(
        f"/projects/{automation.project_id}/automations/new/", {"uid": str(new_id()), "name": automation.name}
    )
    settings = {"name": automation.name, "description": "", "time_limit_s": "300"}
    renamed = draft.post("settings/", settings)

    assert new.status_code == 422
    assert renamed.status_code == 422
    assert "already used" in renamed.content.decode()


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\nb", "\x00"])
def test_bad_name_is_a_field_error(draft: Pages, name: str) -> None:
    answer = draft.post("settings/", {"name": name, "description": "", "time_limit_s": "300"})

    assert answer.status_code == 422
    assert draft.automation.name == "Draft"


def test_settings_are_kept_within_the_organizations_limit(live: Pages) -> None:
    given = {"name": "Renamed", "description": "New", "time_limit_s": "60"}
    before = live.automation.live_rev

    assert live.post("settings/", given).status_code == 302
    assert live.post("settings/", {**given, "time_limit_s": "301"}).status_code == 422
    assert (live.automation.name, live.automation.time_limit_s) == ("Renamed", 60)
    assert live.automation.live_rev > before  # the trigger URL must notice


def test_steps_are_added_moved_copied_and_deleted(draft: Pages) -> None:
    for position, action in enumerate(["transform.template", "wait.for", "email.send"]):
        draft.post(f"add/{position}/", {"action": action})
    first, second, third = draft.keys

    draft.post(f"steps/{third}/move/", {"direction": "up"})
    assert draft.keys == [first, third, second]

    draft.post(f"steps/{first}/move/", {"direction": "up"})
    assert draft.keys == [first, third, second]

    draft.post(f"steps/{first}/duplicate/")
    assert draft.keys == [first, f"{first}_2", third, second]

    draft.post("add/1/", {"action": "wait.for"})
    assert draft.keys[1] == f"{second}_2"

    draft.post(f"steps/{third}/delete/")
    assert third not in draft.keys


def test_step_is_disabled_and_enabled(live: Pages) -> None:
    live.post("steps/fetch/disable/")
    assert live.step("fetch").disabled

    live.post("steps/fetch/disable/")
    assert not live.step("fetch").disabled


def test_unknown_action_and_step_are_refused(draft: Pages) -> None:
    assert draft.post("add/0/", {"action": "http.nothing"}).status_code == 422
    for path in ("steps/nothing/move/", "steps/nothing/delete/", "steps/nothing/"):
        assert draft.post(path).status_code == 404
    assert draft.keys == []


def test_step_keeps_what_is_typed_into_its_form(draft: Pages) -> None:
    draft.post("add/0/", {"action": "http.request"})
    key = draft.keys[0]

    draft.save(
        key,
        {
            "input-method": "POST",
            "input-url": "https://example.com/",
            "input-headers-0-name": "X-Key",
            "input-headers-0-value": "{{ vars.API_TOKEN }}",
            "input-headers-1-name": "",
            "input-headers-1-value": "",
            "input-body_type": "json",
            "input-body": '{"total": "{{ trigger.body.total }}", "ok": true}',
            "input-fail_on_error_status": "on",
            "input-timeout_s": "12",
        },
        on_error="skip",
        retry_times="2",
        time_limit_s="9.5",
        if_interrupted="never_repeat",
        note="Why",
    )

    step = draft.step(key)
    assert step.input == {
        "method": "POST",
        "url": "https://example.com/",
        "headers": [{"name": "X-Key", "value": "{{ vars.API_TOKEN }}"}],
        "body_type": "json",
        "body": {"total": "{{ trigger.body.total }}", "ok": True},
        "fail_on_error_status": True,
        "timeout_s": 12,
        "follow_redirects": False,
    }
    assert (step.on_error, step.retry.times, step.time_limit_s) == ("skip", 2, 9.5)
    assert (step.if_interrupted, step.note) == ("never_repeat", "Why")


def test_form_shows_what_was_saved(draft: Pages) -> None:
    draft.post("add/0/", {"action": "transform.fields"})
    key = draft.keys[0]
    draft.save(
        key,
        {"input-fields-0-name": "total", "input-fields-0-value": "{{ trigger.body.total | times: 2 }}",
         "input-fields-1-name": "flag", "input-fields-1-value": "true"},
    )  # fmt: skip

    assert draft.step(key).input == {"fields": {"total": "{{ trigger.body.total | times: 2 }}", "flag": True}}
    page = draft.get(f"steps/{key}/")
    assert 'value="{{ trigger.body.total | times: 2 }}"' in page
    assert 'value="true"' in page


def test_unfinished_step_is_saved_and_its_problems_are_shown(draft: Pages) -> None:
    draft.post("add/0/", {"action": "http.request"})
    key = draft.keys[0]

    answer = draft.save(key, {"input-method": "GET", "input-url": "https://example.com/{{ trigger.body.id"})

    assert answer.status_code == 302
    page = draft.get(f"steps/{key}/")
    assert "errorlist" in page
    assert 'data-state="incomplete"' in page


@pytest.mark.parametrize(
    "wrong",
    [
        {"retry_times": "11"},
        {"retry_times": "x"},
        {"on_error": "explode"},
        {"time_limit_s": "-1"},
        {"time_limit_s": "inf"},
        {"title": "x" * 201},
        {"title": "a\nb"},
        {"key": "Upper"},
        {"key": "trigger"},
        {"key": ""},
    ],
)
def test_bad_option_is_a_field_error_and_nothing_is_saved(live: Pages, wrong: dict[str, str]) -> None:
    before = live.automation.draft_rev
    options = {f"step-{name}": value for name, value in wrong.items()}

    answer = live.save("fetch", {"input-method": "GET", "input-url": "https://example.com/", **options})

    assert answer.status_code == 422
    assert "errorlist" in answer.content.decode()
    assert live.automation.draft_rev == before


def test_null_character_in_an_input_is_a_field_error(live: Pages) -> None:
    for typed in ({"input-url": "a\x00b"}, {"input-body": '"\\u0000"'}, {"input-headers-0-name": "\x00"}):
        assert live.save("fetch", {"input-method": "GET", **typed}).status_code == 422


def test_renamed_reference_is_followed_by_later_steps(draft: Pages) -> None:
    draft.post("add/0/", {"action": "http.request"})
    draft.post("add/1/", {"action": "transform.template"})
    draft.post("add/2/", {"action": "condition.continue_if"})
    first, second, third = draft.keys
    draft.save(second, {"input-template": f"{{{{ {first}.body.id }}}} of {first} {{{{ trigger.body.{first} }}}}"})
    draft.save(third, {"input-conditions-0-0-path": f"{first}.status", "input-conditions-0-0-op": "equals",
                       "input-conditions-0-0-value": "200"})  # fmt: skip

    draft.save(first, {"input-method": "GET", "input-url": "https://example.com/"} | {"step-key": "order"})

    assert draft.keys[0] == "order"
    assert draft.step(second).input["template"] == f"{{{{ order.body.id }}}} of {first} {{{{ trigger.body.{first} }}}}"
    assert draft.step(third).input["conditions"]["all"][0]["path"] == "order.status"


def test_reference_of_another_step_is_refused(draft: Pages) -> None:
    draft.post("add/0/", {"action": "wait.for"})
    draft.post("add/1/", {"action": "wait.for"})
    first, second = draft.keys

    answer = draft.save(first, {"input-amount": "1", "input-unit": "seconds", "step-key": second})

    assert answer.status_code == 422
    assert "already used" in answer.content.decode()


STALE: list[tuple[str, dict[str, str]]] = [
    ("steps/fetch/move/", {"direction": "up"}),
    ("steps/fetch/duplicate/", {}),
    ("steps/fetch/delete/", {}),
    ("steps/fetch/disable/", {}),
    ("add/0/", {"action": "wait.for"}),
    ("trigger/", {"input-methods": "POST"}),
    ("trigger/replace/", {"event": "http.request"}),
    ("activate/", {"anyway": "1"}),
    ("discard/", {}),
]


@pytest.mark.parametrize(("path", "data"), STALE)
def test_stale_edit_changes_nothing_and_says_so(live: Pages, path: str, data: dict[str, str]) -> None:
    trigger, seen = live.automation.trigger, live.automation.draft_rev
    live.post("add/1/", {"action": "wait.for"})
    before = live.automation.draft

    answer = live.post(path, data, rev=seen)

    assert answer.status_code == 409
    assert "somebody changed this draft meanwhile" in answer.content.decode()
    assert live.automation.draft == before
    assert live.automation.trigger == trigger


def test_stale_step_form_comes_back_with_what_was_typed(live: Pages) -> None:
    seen = live.automation.draft_rev
    live.post("add/1/", {"action": "wait.for"})

    answer = live.save("fetch", {"input-method": "GET", "input-url": "https://typed.example.com/"}, rev=seen)

    assert answer.status_code == 409
    page = answer.content.decode()
    assert "https://typed.example.com/" in page
    assert "Reload" in page


def test_edit_without_the_draft_it_saw_is_stale(live: Pages) -> None:
    for rev in ("", "x", "-1", "9" * 30):
        assert live.client.post(live.root + "steps/fetch/delete/", {"rev": rev}).status_code == 409


def test_activation_warns_first_and_goes_on_anyway(live: Pages) -> None:
    live.post("deactivate/")

    asked = live.post("activate/")
    assert asked.status_code == 200
    assert "Activate anyway" in asked.content.decode()
    assert not live.automation.is_active

    live.post("activate/", {"anyway": "1"})
    assert live.automation.is_active


def test_activation_is_refused_without_trigger_or_steps(draft: Pages) -> None:
    answer = draft.post("activate/", {"anyway": "1"})

    assert answer.status_code == 422
    page = answer.content.decode()
    assert "Configure the trigger first." in page
    assert "Add at least one step first." in page
    assert not draft.automation.is_active


def test_warnings_name_the_step_and_the_problem(draft: Pages) -> None:
    draft.post("trigger/make/", {"event": "http.request"})
    draft.post("add/0/", {"action": "transform.template"})
    draft.post("add/1/", {"action": "email.send"})
    first, second = draft.keys
    draft.save(first, {"input-template": f"{{{{ {second}.message_id }}}}"}, title="Greeting")
    page = draft.get("activate/")

    assert "Not tested since its last change." in page
    assert "Greeting" in page
    assert "comes later" in page
    assert "To: " in page


def test_missing_path_is_a_warning_that_names_it(draft: Pages) -> None:
    draft.post("trigger/make/", {"event": "http.request"})
    draft.post("add/0/", {"action": "transform.template"})
    draft.save(draft.keys[0], {"input-template": "{{ trigger.body.nothing_of_that_kind }}"})

    assert "nothing_of_that_kind" in re.sub(r"<input[^>]*>|<textarea.*?</textarea>", "", draft.get("activate/"))


def test_edit_of_a_live_automation_changes_the_draft_only(live: Pages) -> None:
    version = live.automation.live_version

    live.post("steps/fetch/duplicate/")

    assert live.automation.live_version == version
    assert "Unpublished changes" in live.get()

    live.post("activate/", {"anyway": "1"})
    assert live.automation.live_version is not None
    assert live.automation.live_version.number == 2
    assert "Unpublished changes" not in live.get()


def test_discarded_draft_is_the_live_version_again(live: Pages) -> None:
    before = live.automation.draft
    live.post("steps/fetch/duplicate/")

    live.post("discard/")

    assert live.automation.draft == before


def test_trigger_secret_is_shown_once(draft: Pages) -> None:
    draft.post("trigger/make/", {"event": "http.request"})

    shown = re.search(r'id="new-secret">([^<]+)<', draft.get("trigger/"))
    assert shown
    for path in ("trigger/", "", "activate/"):
        assert shown[1] not in draft.get(path)


def test_trigger_made_twice_keeps_its_url(draft: Pages) -> None:
    draft.post("trigger/make/", {"event": "http.request"})
    first = draft.automation.trigger

    assert draft.post("trigger/make/", {"event": "http.request"}).status_code == 302
    assert draft.automation.trigger == first


def test_rotated_secret_keeps_the_url(live: Pages) -> None:
    before = live.automation.trigger
    assert before is not None

    live.post("trigger/rotate/")

    after = live.automation.trigger
    assert after == before
    assert after is not None
    assert after.encrypted_secret != before.encrypted_secret
    assert 'id="new-secret"' in live.get("trigger/")


def test_removed_secret_is_gone(live: Pages) -> None:
    live.post("trigger/remove-secret/")

    trigger = live.automation.trigger
    assert trigger is not None
    assert trigger.encrypted_secret == ""
    assert "No secret" in live.get("trigger/")


def test_replaced_trigger_has_a_new_url_and_keeps_its_settings(live: Pages) -> None:
    old = live.automation.trigger
    live.post("trigger/", {"input-methods": "POST", "input-headers": "X-Event"})

    live.post("trigger/replace/", {"event": "http.request"})

    new = live.automation.trigger
    assert old is not None
    assert new is not None
    assert new.url != old.url
    assert live.automation.definition.trigger.uid == new.uid
    assert live.automation.definition.trigger.config == {"methods": ["POST"], "headers": ["X-Event"]}
    assert Trigger.objects.get(pk=old.pk).replaced_at is not None


def test_reconfigured_trigger_keeps_its_url(live: Pages) -> None:
    before = live.automation.trigger

    live.post(
        "trigger/",
        {
            "input-methods": ["POST"],
            "start-conditions-mode": "any",
            "start-conditions-0-mode": "all",
            "start-conditions-0-0-path": "trigger.body.type",
            "start-conditions-0-0-op": "equals",
            "start-conditions-0-0-value": "order",
            "start-conditions-0-1-path": "trigger.body.total",
            "start-conditions-0-1-op": "is_positive",
            "start-conditions-0-1-value": "ignored",
            "start-conditions-1-mode": "any",
            "start-conditions-1-0-path": "trigger.query.force",
            "start-conditions-1-0-op": "is_truthy",
            "start-conditions-2-mode": "all",
            "start-conditions-2-0-path": "",
            "start-conditions-2-0-op": "equals",
            "start-conditions-2-0-value": "",
        },
    )

    assert live.automation.trigger == before
    stored = live.automation.definition.trigger.conditions.model_dump(exclude_none=True)
    assert stored == {
        "any": [
            {
                "all": [
                    {"path": "trigger.body.type", "op": "equals", "value": "order"},
                    {"path": "trigger.body.total", "op": "is_positive"},
                ]
            },
            {"any": [{"path": "trigger.query.force", "op": "is_truthy"}]},
        ]
    }
    page = live.get("trigger/")
    assert 'value="trigger.body.type"' in page
    assert '<option value="is_positive" selected>' in page


@pytest.mark.parametrize(
    ("path", "op"),
    [("not a path!", "equals"), ("trigger.body.x", "unheard_of"), ("{{ }}", "equals"), ("x" * 501, "equals")],
)  # fmt: skip
def test_bad_condition_is_a_field_error(live: Pages, path: str, op: str) -> None:
    row = {"start-conditions-0-0-path": path, "start-conditions-0-0-op": op, "start-conditions-0-0-value": "1"}

    answer = live.post("trigger/", {"input-methods": "POST", **row})

    assert answer.status_code == 422
    assert "errorlist" in answer.content.decode()
    assert not live.automation.definition.trigger.conditions.members


def test_deleted_automation_needs_its_name_typed(live: Pages) -> None:
    assert live.post("delete/", {"name": "something else"}).status_code == 422
    assert live.automation.deleted_at is None

    live.post("delete/", {"name": live.automation.name})
    assert live.automation.deleted_at is not None
    assert live.client.get(live.root).status_code == 404


def test_duplicate_is_inactive_with_a_trigger_of_its_own(live: Pages) -> None:
    answer = live.post("duplicate/")

    copy = Automation.objects.get(name="Orders copy")
    assert answer.headers["Location"].endswith(f"{copy.pk}/trigger/")
    assert not copy.is_active
    assert copy.trigger is not None
    assert copy.trigger != live.automation.trigger
    assert copy.definition.trigger.uid == copy.trigger.uid
    assert copy.definition.steps == live.automation.definition.steps
    assert 'id="new-secret"' in Pages(live.client, copy).get("trigger/")


def test_switch_turns_off_at_once_and_asks_before_turning_on(live: Pages) -> None:
    live.post("toggle/", {"active": "off"})
    assert not live.automation.is_active

    answer = live.post("toggle/", {"active": "on"})
    assert answer.headers["Location"].endswith("/activate/")
    assert not live.automation.is_active


def test_list_shows_automations_without_reading_each(
    client: Client, make_automation: Callable[..., Automation], django_assert_max_num_queries: Any
) -> None:
    project = make_automation("One").project_id
    for name in ("Two", "Three", "Four"):
        make_automation(name, is_active=False)

    with django_assert_max_num_queries(7):
        page = client.get(f"/projects/{project}/automations/").content.decode()

    assert [name for name in ("One", "Two", "Three", "Four") if name in page] == ["One", "Two", "Three", "Four"]
    assert page.count('aria-checked="true"') == 1


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


def test_body_that_only_looks_like_json_is_a_warning(draft: Pages) -> None:
    draft.post("add/0/", {"action": "http.request"})
    form = {"input-method": "POST", "input-url": "https://example.com/", "input-body_type": "json"}

    draft.save(draft.keys[0], {**form, "input-body": '{"id": {{ trigger.body.id }}}'})
    assert "this is not JSON" in draft.get("activate/")

    draft.save(draft.keys[0], {**form, "input-body": '{"id": "{{ trigger.body.id }}"}'})
    assert "this is not JSON" not in draft.get("activate/")

    draft.save(draft.keys[0], {**form, "input-body": "{{ trigger.body }}"})
    assert "this is not JSON" not in draft.get("activate/")
