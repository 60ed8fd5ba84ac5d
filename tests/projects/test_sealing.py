"""A ciphertext opens for its purpose and place, and nowhere else."""

from __future__ import annotations

import logging
import uuid
from importlib import import_module
from itertools import permutations
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from automations.models import Automation, Trigger
from projects import sealing
from projects.models import Project, Variable
from projects.sealing import Purpose, UnreadableSecret

PLACES: list[tuple[Purpose, tuple[str, ...]]] = [
    (Purpose.VARIABLE, ("ab", "c")),
    (Purpose.VARIABLE, ("a", "bc")),
    (Purpose.VARIABLE, ("abc",)),
    (Purpose.VARIABLE, ("ab", "c", "")),
    (Purpose.VARIABLE, ("2:ab,", "c")),
    (Purpose.TRIGGER_SECRET, ("ab", "c")),
    (Purpose.ECHO, ("ab", "c")),
    (Purpose.SHOWN_ONCE, ("c", "ab")),
]


@pytest.mark.parametrize(("here", "there"), list(permutations(PLACES, 2)))
def test_a_secret_opens_nowhere_else(here: Any, there: Any) -> None:
    token = sealing.encrypt("s3cr3t-value", here[0], *here[1])

    assert sealing.decrypt(token, here[0], *here[1]) == "s3cr3t-value"
    with pytest.raises(UnreadableSecret):
        sealing.decrypt(token, there[0], *there[1])


@settings(derandomize=True, deadline=None, database=None)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0), st.characters())
def test_a_changed_token_opens_for_nobody(text: str, at: int, other: str) -> None:
    token = sealing.encrypt(text, Purpose.VARIABLE, "project", "KEY")
    at %= len(token)
    changed = token[:at] + other + token[at + 1 :]

    assert sealing.decrypt(token, Purpose.VARIABLE, "project", "KEY") == text
    if changed[:-1] != token[:-1]:  # the last character has bits that say nothing
        with pytest.raises(UnreadableSecret):
            sealing.decrypt(changed, Purpose.VARIABLE, "project", "KEY")
    for cut in (token[:at], token + other):
        with pytest.raises(UnreadableSecret):
            sealing.decrypt(cut, Purpose.VARIABLE, "project", "KEY")


def test_older_keys_still_open_and_the_newest_encrypts(settings: Settings) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.FIELD_KEYS = [old]
    token = sealing.encrypt("s3cr3t-value", Purpose.TRIGGER_SECRET, "uid")

    settings.FIELD_KEYS = [new, old]
    assert sealing.decrypt(token, Purpose.TRIGGER_SECRET, "uid") == "s3cr3t-value"
    renewed = sealing.encrypt("s3cr3t-value", Purpose.TRIGGER_SECRET, "uid")

    settings.FIELD_KEYS = [new]
    assert sealing.decrypt(renewed, Purpose.TRIGGER_SECRET, "uid") == "s3cr3t-value"
    with pytest.raises(UnreadableSecret, match="FIELD_KEYS"):
        sealing.decrypt(token, Purpose.TRIGGER_SECRET, "uid")


@pytest.mark.django_db
def test_a_variables_ciphertext_opens_in_no_other_row(project: Project, stranger: Any) -> None:
    elsewhere = Project.objects.exclude(pk=project.pk).get()
    ours = Variable(project=project, key="TOKEN", is_secret=True)
    ours.value = "s3cr3t-value"
    ours.save()

    for place in ({"project": elsewhere, "key": "TOKEN"}, {"project": project, "key": "OTHER"}):
        copied = Variable.objects.create(**place, encrypted=ours.encrypted)
        with pytest.raises(UnreadableSecret):
            _ = copied.value
    assert Variable.objects.get(pk=ours.pk).value == "s3cr3t-value"


@pytest.mark.django_db
def test_the_migrations_bind_what_an_older_release_stored(
    automation: Automation, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    fernet, lost = Fernet(settings.FIELD_KEYS[-1]), Fernet(Fernet.generate_key())
    project, trigger = automation.project, automation.trigger
    assert trigger
    values = {f"KEY_{number}": f"value {number} é" for number in range(1200)}  # more than two batches
    Variable.objects.bulk_create(
        Variable(project=project, key=key, encrypted=fernet.encrypt(value.encode()).decode())
        for key, value in values.items()
    )
    unknown = Variable.objects.create(project=project, key="LOST", encrypted=lost.encrypt(b"x").decode())
    Trigger.objects.filter(pk=trigger.pk).update(encrypted_secret=fernet.encrypt(b"of the trigger").decode())
    Trigger.objects.create(automation=automation, uid=uuid.uuid4().hex, connector="http", event="request")

    def migrate(*, back: bool = False) -> dict[str, str]:
        for name in ("projects.migrations.0004_bound_secrets", "automations.migrations.0003_bound_secrets"):
            operation = import_module(name).Migration.operations[0]
            (operation.reverse_code if back else operation.code)(apps, None)
        return dict(project.variables.values_list("key", "encrypted"))

    migrate()
    once = migrate()  # changes nothing more

    assert migrate() == once
    assert {one.key: one.value for one in project.variables.exclude(key="LOST")} == values
    assert Trigger.objects.get(pk=trigger.pk).secret == "of the trigger"
    assert once["LOST"] == unknown.encrypted and "LOST" in caplog.text
    assert project.variables.get(key="LOST").readable == ""

    before = migrate(back=True)
    assert {key: fernet.decrypt(before[key]).decode() for key in values} == values
    assert fernet.decrypt(Trigger.objects.get(pk=trigger.pk).encrypted_secret) == b"of the trigger"
