from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from projects import sealing
from projects.models.organization import Asker

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def usable(self) -> Self:
        """Return the tokens that the API accepts: not revoked, and of a person who may still sign in."""
        return self.filter(revoked_at=None, user__is_active=True)

    def for_user(self, user: Asker) -> Self:
        """Return a person's own tokens, revoked ones too."""
        return self.filter(user_id=user.pk)

    def make(self, user: User, name: str) -> tuple[ApiToken, str]:
        """Return a new token and its text, which is stored nowhere: only its digest is, so it can be shown only now."""
        text = sealing.new_token("aos")
        return self.create(user=user, name=name, prefix=text[:10], digest=sealing.digest(text)), text

    def find(self, text: str) -> ApiToken | None:
        """Return the usable token of this text."""
        return self.usable().select_related("user").filter(digest=sealing.digest(text)).first()


class ApiToken(models.Model):
    """Lets a program use the API in a person's name, for the projects that the person may see.

    `prefix` is the beginning of the text, by which people recognize it.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def revoke(self) -> None:
        """Refuse the token from now on; the row stays, so that its name and time can still be looked up."""
        self.revoked_at = timezone.now()
        self.save(update_fields=["revoked_at"])
