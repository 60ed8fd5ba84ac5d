from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Coalesce
from django.utils import timezone

from projects.ids import new_id
from projects.models.organization import Asker, Membership, Organization
from projects.models.usage import UsageDay, this_month

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class ProjectQuerySet(models.QuerySet["Project"]):
    def kept(self) -> Self:
        """Return the projects that are not deleted: a deleted one stays until retention has removed what is in it."""
        return self.filter(deleted_at=None)

    def for_user(self, user: Asker) -> Self:
        """Return the projects that a person may see: owners and admins all of the organization, members those shared.

        Every queryset of rows inside a project starts here, so no page can forget to ask.
        """
        if not user.is_authenticated:
            return self.none()
        everywhere = Membership.objects.filter(user_id=user.pk, role__in=[Membership.Role.OWNER, Membership.Role.ADMIN])
        member_of = Membership.objects.filter(user_id=user.pk)
        return (
            self.kept()
            .filter(
                models.Q(organization__in=everywhere.values("organization"))
                # Sharing alone is not enough: it outlives a membership of the organization that has ended.
                | models.Q(members=user.pk, organization__in=member_of.values("organization"))
            )
            .distinct()
        )

    def with_summary(self, user: User) -> Self:
        """Add a project card's figures: the person's `role`, `automation_count` and this month's `executions`."""
        role = Membership.objects.filter(organization=models.OuterRef("organization"), user_id=user.pk)
        kept = Project.objects.filter(pk=models.OuterRef("pk"), automations__deleted_at=None).order_by()
        month = UsageDay.objects.filter(project=models.OuterRef("pk"), day__gte=this_month()).order_by()
        return self.select_related("organization").annotate(
            role=models.Subquery(role.values("role")[:1]),
            automation_count=Coalesce(models.Subquery(_total(kept, models.Count("automations"))), 0),
            executions=Coalesce(models.Subquery(_total(month, models.Sum("count"))), 0),
        )


def _total[Q: models.QuerySet[Any]](rows: Q, aggregate: models.Aggregate) -> Any:
    """Return one aggregate over all rows of a subquery: grouped by a constant, or Django would group by key."""
    return rows.annotate(one=models.Value(1)).values("one").annotate(total=aggregate).values("total")


class Project(models.Model):
    """The owner of automations, variables and executions; it is shared with members."""

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
