"""Steps are added, moved, filled in and referred to."""

from __future__ import annotations

import pytest

from tests.support.builder import Pages


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


@pytest.mark.parametrize(("levels", "status"), [(40, 302), (41, 422), (900, 422)])
def test_json_that_is_nested_too_deeply_is_refused_at_its_field(draft: Pages, levels: int, status: int) -> None:
    draft.post("add/0/", {"action": "http.request"})
    body = {"input-body_type": "json", "input-body": "[" * levels + "]" * levels}

    answer = draft.save(draft.keys[0], {"input-method": "POST", "input-url": "https://example.com/", **body})

    assert answer.status_code == status
    assert ("at most 40 levels" in answer.content.decode()) == (status == 422)


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
    assert "already has the reference" in answer.content.decode()
