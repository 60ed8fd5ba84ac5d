from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.db import DatabaseError, models, transaction
from django.db.models import Q
from django.utils import timezone

from projects import sealing
from projects.models.organization import Asker

if TYPE_CHECKING:
    from django.contrib.auth.models import User


USE_NOTED_EVERY = timedelta(hours=1)  # a token's use costs no write in between


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def usable(self) -> Self:
        """Return the tokens that the API accepts: neither revoked nor expired, of a person who may still sign in."""
        return self._kept().filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))

    def _kept(self) -> Self:
        return self.filter(revoked_at=None, user__is_active=True)

    def for_user(self, user: Asker) -> Self:
        """Return a person's own tokens, revoked ones too."""
        return self.filter(user_id=user.pk)

    def make(self, user: User, name: str, *, expires_at: datetime | None = None) -> tuple[ApiToken, str]:
        """Return a new token and its text, which is stored nowhere: only its digest is, so it can be shown only now."""
        text = sealing.new_token("aos")
        values = {"name": name, "expires_at": expires_at, "prefix": text[:10], "digest": sealing.digest(text)}
        return self.create(user=user, **values), text

    def find(self, text: str) -> ApiToken | None:
        """Return the usable token of this text."""
        return self.usable().select_related("user").filter(digest=sealing.digest(text)).first()

    def has_expired(self, text: str) -> bool:
        """Return whether the text was a usable token until its time was over."""
        return self._kept().filter(digest=sealing.digest(text), expires_at__lte=timezone.now()).exists()


class ApiToken(models.Model):
    """Lets a program use the API in a person's name, for the projects that the person may see.

    `prefix` is the beginning of the text, by which people recognize it. A token without `expires_at` never expires.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
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

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    def note_use(self) -> None:
        """Note that the token is used now, to the hour; a database that takes no writes refuses no reader."""
        now = timezone.now()
        if self.last_used_at is None or self.last_used_at < now - USE_NOTED_EVERY:
            with suppress(DatabaseError), transaction.atomic():
                ApiToken.objects.filter(pk=self.pk).update(last_used_at=now)
