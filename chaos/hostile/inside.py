"""The hostile organization, made inside the installation by `Installation.call`: what it may make, it makes."""

from __future__ import annotations

from typing import Any

from chaos.hostile.arsenal import ATTACKS
from chaos.hostile.seals import FORGED
from harness.factory import make_automation, make_owner
from projects.models import Organization, Project, Variable

USER = "mallory"


def furnish(names: list[str], remote: str) -> dict[str, Any]:
    """Make the automations of these attacks, and say which ones the product refuses."""
    organization = Organization.objects.create(name="Hostile")
    project = Project.objects.create(organization=organization, name="Hostile")
    stolen = list(Variable.objects.filter(is_secret=True).values_list("encrypted", flat=True))
    for key, value in {"SEAL": FORGED, "REMOTE": remote}.items():
        variable = Variable(project=project, key=key)
        variable.value = value
        variable.save()
    make_owner(organization, USER)
    made, refused = {}, {}
    designs = {key: design for name in names for key, design in ATTACKS[name].designs.items()}
    for key, design in designs.items():
        try:
            automation = make_automation(
                project, key, design.steps, trigger=dict(design.trigger), is_open=True, is_active=design.is_active,
                **design.fields,
            )  # fmt: skip
        except Exception as error:  # any refusal is one: the product may know more rules than today
            refused[key] = f"{type(error).__name__}: {error}"[:300]
        else:
            assert automation.trigger
            made[key] = {"automation": str(automation.pk), "trigger": automation.trigger.uid}
    return {
        "project": str(project.pk), "user": USER, "made": made, "refused": refused, "stolen": stolen,
        "organization": str(organization.pk),
    }  # fmt: skip
