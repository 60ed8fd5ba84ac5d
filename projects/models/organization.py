from __future__ import annotations

from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from projects.ids import new_id

type Asker = AbstractBaseUser | AnonymousUser


class OrganizationQuerySet(models.QuerySet["Organization"]):
    def managed_by(self, user: Asker) -> Self:
        """Return the organizations that a person manages as owner or admin: creates projects, changes settings."""
        if not user.is_authenticated:
            return self.none()
        roles = [Membership.Role.OWNER, Membership.Role.ADMIN]
        managed = Membership.objects.filter(user_id=user.pk, role__in=roles)
        return self.filter(pk__in=managed.values("organization")).order_by("name")


class Organization(models.Model):
    """The payer, who sets limits. An empty limit means unlimited.

    Staff set most of it; owners and admins set what `projects.forms.OrganizationForm` shows them.
    """

    uid = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=100)
    soft_limit = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="After this number of executions in a month a banner appears; executions continue.",
    )
    hard_limit = models.PositiveIntegerField(
        null=True, blank=True, help_text="After this number of executions in a month new requests are refused with 429."
    )
    email_limit = models.PositiveIntegerField(
        null=True,
        blank=True,
        default=10_000,
        help_text="After this number of e-mails in a month an execution ends Partially Executed at an e-mail step.",
    )
    time_limit_s = models.PositiveIntegerField(
        "longest allotted time in seconds",
        default=300,
        validators=[MinValueValidator(1)],
        help_text="The longest allotted time that an automation can set.",
    )
    throttle_rate = models.FloatField(
        "throttle frequency",
        default=1,
        db_default=1,
        validators=[MinValueValidator(0.1)],
        help_text="Starts per second, shared by all automations with Throttle on.",
    )
    throttle_rate_limit = models.FloatField(
        "highest throttle frequency",
        default=10,
        db_default=10,
        validators=[MinValueValidator(0.1)],
        help_text="The highest throttle frequency that owners and admins can set.",
    )
    direct_limit = models.PositiveIntegerField(
        "direct starts per minute",
        null=True,
        blank=True,
        default=5000,
        db_default=5000,
        validators=[MinValueValidator(1)],
        help_text="Starts per minute of automations that are not throttled. More executions wait for the next minute.",
    )
    duplicates_h = models.PositiveIntegerField(
        "duplicate window in hours",
        default=24,
        db_default=24,
        validators=[MinValueValidator(1), MaxValueValidator(168)],
        help_text="A request with a known delivery id starts nothing within this time.",
    )
    keep_days = models.PositiveIntegerField(
        "keep executions for days",
        null=True,
        blank=True,
        default=90,
        db_default=90,
        validators=[MinValueValidator(1)],
        help_text="Older finished executions are removed; usage counts stay.",
    )
    keep_count = models.PositiveIntegerField(
        "keep executions up to",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Beyond this number the oldest finished executions are removed.",
    )
    keep_payloads_days = models.PositiveIntegerField(
        "keep payloads for days",
        null=True,
        blank=True,
        default=30,
        db_default=30,
        validators=[MinValueValidator(1)],
        help_text="Inputs and outputs of older executions are removed; status, steps and times stay.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = OrganizationQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name

    def save(self, **options: Any) -> None:
        # Staff may just have lowered the limit below the rate that an owner chose.
        self.throttle_rate = min(self.throttle_rate, self.throttle_rate_limit)
        super().save(**options)


class Membership(models.Model):
    """A person's role in an organization."""

    class Role(models.TextChoices):
        OWNER = "owner", "Owner"  # sees every project, is told about limits
        ADMIN = "admin", "Admin"  # sees every project
        MEMBER = "member", "Member"  # sees the projects shared with them

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role, default=Role.MEMBER)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "user"], name="one_membership_each")]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization}"
