from __future__ import annotations

import uuid
from typing import Self

from django.core.validators import RegexValidator
from django.db import models

from projects import sealing
from projects.models.organization import Asker
from projects.models.project import Project
from projects.sealing import Purpose


class VariableQuerySet(models.QuerySet["Variable"]):
    def for_user(self, user: Asker) -> Self:
        return self.filter(project__in=Project.objects.for_user(user))


def variable_place(project_id: uuid.UUID, key: str) -> tuple[Purpose, str, str]:
    """Return what a variable's ciphertext is bound to."""
    return Purpose.VARIABLE, project_id.hex, key


class Variable(models.Model):
    """A value that every step of a project can read as `{{ vars.KEY }}`; a secret one is never shown again.

    Both kinds are encrypted, so that one that is made secret later was never stored in the clear. The ciphertext opens
    only in this project under this key: set both before the value.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="variables")
    key = models.CharField(
        max_length=64,
        validators=[
            RegexValidator(
                r"\A[A-Za-z_][A-Za-z0-9_]*\Z",
                "Key must hold only letters, digits and _, and must not start with a digit.",
            )
        ],
    )
    is_secret = models.BooleanField(default=False)
    encrypted = models.TextField(editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = VariableQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "key"], name="variable_key_once_a_project")]
        ordering = ["key"]

    def __str__(self) -> str:
        return self.key

    @property
    def value(self) -> str:
        """Return the value in the clear; raise UnreadableSecret when nothing opens it here."""
        return sealing.decrypt(self.encrypted, *variable_place(self.project_id, self.key))

    @value.setter
    def value(self, text: str) -> None:
        self.encrypted = sealing.encrypt(text, *variable_place(self.project_id, self.key))

    @property
    def shown(self) -> str:
        """Return what people may see: the value, or a mask for a secret one; raise UnreadableSecret as `value` does."""
        return sealing.MASK if self.is_secret else self.value

    @property
    def readable(self) -> str:
        """Return what people may see, or nothing when it cannot be decrypted: one lost key must not hide a page."""
        try:
            return self.shown
        except sealing.UnreadableSecret:
            return ""
