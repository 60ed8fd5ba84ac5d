"""Who owns what: organization, project, members, variables, API tokens, limits and usage."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Coalesce
from django.utils import timezone

from projects import secrets
from projects.ids import new_id

if TYPE_CHECKING:
    from django.contrib.auth.models import User

type Asker = AbstractBaseUser | AnonymousUser


class OrganizationQuerySet(models.QuerySet["Organization"]):
    def managed_by(self, user: Asker) -> Self:
        """Return those in which a person is owner or admin, and may create projects."""
        if not user.is_authenticated:
            return self.none()
        roles = [Membership.Role.OWNER, Membership.Role.ADMIN]
        managed = Membership.objects.filter(user_id=user.pk, role__in=roles)
        return self.filter(pk__in=managed.values("organization")).order_by("name")


class Organization(models.Model):
    """Who pays and sets limits. An empty limit means unlimited."""

    uid = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=100)
    soft_limit = models.PositiveIntegerField(
        null=True, blank=True, help_text="Executions a month after which a banner warns; they go on."
    )
    hard_limit = models.PositiveIntegerField(
        null=True, blank=True, help_text="Executions a month after which new ones are refused with 429."
    )
    email_limit = models.PositiveIntegerField(
        null=True, blank=True, default=10_000, help_text="E-mails a month; the next one ends Partially Executed."
    )
    time_limit_s = models.PositiveIntegerField(
        default=300, validators=[MinValueValidator(1)], help_text="Longest allotted time that an automation may have."
    )
    throttle_rate = models.FloatField(
        "throttle frequency",
        default=1,
        db_default=1,
        validators=[MinValueValidator(0.1)],
        help_text="Starts a second of all automations with Throttle on together.",
    )
    throttle_rate_limit = models.FloatField(
        "highest throttle frequency",
        default=10,
        db_default=10,
        validators=[MinValueValidator(0.1)],
        help_text="What owners may set; staff raise it.",
    )
    direct_limit = models.PositiveIntegerField(
        "direct starts a minute",
        null=True,
        blank=True,
        default=5000,
        db_default=5000,
        validators=[MinValueValidator(1)],
        help_text="Of automations that are not throttled; what comes beyond waits for the next minute.",
    )
    duplicates_h = models.PositiveIntegerField(
        "duplicate window in hours",
        default=24,
        db_default=24,
        validators=[MinValueValidator(1), MaxValueValidator(168)],
        help_text="How long a delivery's id is remembered, so that its repetition starts nothing.",
    )
    keep_days = models.PositiveIntegerField(
        "keep executions for days",
        null=True,
        blank=True,
        default=90,
        db_default=90,
        validators=[MinValueValidator(1)],
        help_text="Older ones that have ended are removed; usage counts stay.",
    )
    keep_count = models.PositiveIntegerField(
        "keep executions up to",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Beyond this number the oldest that have ended are removed.",
    )
    keep_payloads_days = models.PositiveIntegerField(
        "keep payloads for days",
        null=True,
        blank=True,
        default=30,
        db_default=30,
        validators=[MinValueValidator(1)],
        help_text="Inputs and outputs of older executions are emptied; status, steps and times stay.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = OrganizationQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name

    def save(self, **options: Any) -> None:
        self.throttle_rate = min(self.throttle_rate, self.throttle_rate_limit)  # which staff may just have lowered
        super().save(**options)


class Membership(models.Model):
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


class ProjectQuerySet(models.QuerySet["Project"]):
    def kept(self) -> Self:
        return self.filter(deleted_at=None)

    def for_user(self, user: Asker) -> Self:
        """Return the projects that a person may see: the only way to reach anything inside one."""
        if not user.is_authenticated:
            return self.none()
        everywhere = Membership.objects.filter(user_id=user.pk, role__in=[Membership.Role.OWNER, Membership.Role.ADMIN])
        member_of = Membership.objects.filter(user_id=user.pk)
        return (
            self.kept()
            .filter(
                models.Q(organization__in=everywhere.values("organization"))
                | models.Q(members=user.pk, organization__in=member_of.values("organization"))
            )
            .distinct()
        )

    def with_summary(self, user: User) -> Self:
        """Add what a project's card shows: the person's `role`, `automation_count` and this month's `executions`."""
        role = Membership.objects.filter(organization=models.OuterRef("organization"), user_id=user.pk)
        kept = Project.objects.filter(pk=models.OuterRef("pk"), automations__deleted_at=None).order_by()
        month = UsageDay.objects.filter(project=models.OuterRef("pk"), day__gte=this_month()).order_by()
        return self.select_related("organization").annotate(
            role=models.Subquery(role.values("role")[:1]),
            automation_count=Coalesce(models.Subquery(_total(kept, models.Count("automations"))), 0),
            executions=Coalesce(models.Subquery(_total(month, models.Sum("count"))), 0),
        )


def _total[Q: models.QuerySet[Any]](rows: Q, aggregate: models.Aggregate) -> Any:
    """Return one aggregate over all the rows of a subquery."""
    return rows.annotate(one=models.Value(1)).values("one").annotate(total=aggregate).values("total")


class Project(models.Model):
    uid = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="projects")
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=255, blank=True)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, blank=True, related_name="projects")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ProjectQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class VariableQuerySet(models.QuerySet["Variable"]):
    def for_user(self, user: Asker) -> Self:
        return self.filter(project__in=Project.objects.for_user(user))


class Variable(models.Model):
    """A value that any step of a project can use as `{{ vars.KEY }}`; a secret one is never shown again."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="variables")
    key = models.CharField(
        max_length=64,
        validators=[RegexValidator(r"\A[A-Za-z_][A-Za-z0-9_]*\Z", "Letters, digits and _, not starting with a digit.")],
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
        return secrets.decrypt(self.encrypted)

    @value.setter
    def value(self, text: str) -> None:
        self.encrypted = secrets.encrypt(text)

    @property
    def shown(self) -> str:
        """Return what people may see of it."""
        return secrets.MASK if self.is_secret else self.value

    @property
    def readable(self) -> str:
        """Return what people may see, or nothing when the key that it was encrypted with is lost."""
        try:
            return self.shown
        except secrets.UnreadableSecret:
            return ""


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def usable(self) -> Self:
        return self.filter(revoked_at=None, user__is_active=True)

    def for_user(self, user: Asker) -> Self:
        return self.filter(user_id=user.pk)

    def make(self, user: User, name: str) -> tuple[ApiToken, str]:
        """Return a new token and its text, which is nowhere stored and shown this once."""
        text = secrets.new_token("aos")
        return self.create(user=user, name=name, prefix=text[:10], digest=secrets.digest(text)), text

    def find(self, text: str) -> ApiToken | None:
        return self.usable().select_related("user").filter(digest=secrets.digest(text)).first()


class ApiToken(models.Model):
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
        self.revoked_at = timezone.now()
        self.save(update_fields=["revoked_at"])


def this_month() -> date:
    """Return the first day of the current UTC month: limits are monthly in UTC."""
    return datetime.now(UTC).date().replace(day=1)


class UsageMonth(models.Model):
    """What an organization has reserved of its monthly limits: one conditional UPDATE at accept keeps them exact.

    `reserved` counts accepted executions, which are those counted plus those still under way: each counts once.
    """

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="usage_months")
    month = models.DateField()
    reserved = models.PositiveIntegerField(default=0)
    emails = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "month"], name="one_usage_row_a_month")]


class LimitNotice(models.Model):
    """That an organization's owners are told of one limit at one level this month: each once, whoever noticed."""

    class Limit(models.TextChoices):
        SOFT = "soft", "soft limit of executions"
        HARD = "hard", "hard limit of executions"
        EMAIL = "email", "maximum of e-mails"

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="+")
    month = models.DateField()
    limit = models.CharField(max_length=10, choices=Limit)
    percent = models.SmallIntegerField()  # 80 or 100
    told = models.JSONField(default=list, db_default=[])  # the owners' ids, while not all are
    again_at = models.DateTimeField(null=True)  # when those left over may be told; None: nobody is
    sent_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "month", "limit", "percent"], name="one_notice_a_level")
        ]


class UsageDay(models.Model):
    """Executions counted, by the UTC day on which they were accepted and the first final status that they reached.

    Shards keep engines from waiting for each other's rows; sum over them.
    """

    organization_id: uuid.UUID
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="+", db_constraint=False)
    project = models.ForeignKey(Project, models.DO_NOTHING, related_name="+", db_constraint=False)
    automation_id = models.UUIDField()
    day = models.DateField()
    status = models.SmallIntegerField()
    shard = models.SmallIntegerField()
    count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "day", "automation_id", "status", "shard"], name="one_usage_row_a_day"
            )
        ]
