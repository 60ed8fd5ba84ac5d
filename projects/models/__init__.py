"""Who owns what: organization, project, members, variables, API tokens, limits and usage."""

from __future__ import annotations

from projects.models.installation import Installation
from projects.models.organization import Asker, Membership, Organization, OrganizationQuerySet
from projects.models.project import Project, ProjectQuerySet
from projects.models.token import ApiToken, ApiTokenQuerySet
from projects.models.tries import Tries
from projects.models.usage import LimitNotice, UsageDay, UsageMonth, this_month
from projects.models.variable import Variable, VariableQuerySet

__all__ = [
    "ApiToken", "ApiTokenQuerySet", "Asker", "Installation", "LimitNotice", "Membership", "Organization",
    "OrganizationQuerySet", "Project", "ProjectQuerySet", "Tries", "UsageDay", "UsageMonth", "Variable",
    "VariableQuerySet", "this_month",
]  # fmt: skip
