"""The entrance of the API: it checks method, token and organization, and answers every error in JSON."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from django.contrib.auth.models import User
from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from executions.api import answers
from executions.api.answers import ApiError
from executions.models import Execution, ExecutionQuerySet
from executions.store import errors
from projects.models import ApiToken, Membership, Project, ProjectQuerySet

logger = logging.getLogger(__name__)

type View = Callable[..., HttpResponse]


@dataclass(frozen=True, slots=True)
class Caller:
    """The user whose token a request holds, in one of their organizations. Cookies are ignored."""

    user: User
    organization_uid: uuid.UUID

    @property
    def projects(self) -> ProjectQuerySet:
        return Project.objects.for_user(self.user).filter(organization=self.organization_uid)

    def executions_of(self, project_uid: uuid.UUID) -> ExecutionQuerySet:
        visible = Execution.objects.for_user(self.user)
        return visible.filter(organization=self.organization_uid, project=project_uid)


def endpoint(*methods: str) -> Callable[[View], View]:
    """Make a Django view of `view(request, caller, ...)` that allows these methods only."""

    def decorator(view: View) -> View:
        @csrf_exempt  # safe: a browser does not send the token's header by itself
        @wraps(view)
        def wrapper(request: HttpRequest, **path: object) -> HttpResponse:
            try:
                _check_method(request, methods)
                return view(request, _caller(request), **path)
            except Exception as problem:  # not left to Django, whose error pages are HTML
                return answers.error(request, _refusal(request, problem))

        return wrapper

    return decorator


@csrf_exempt
def unknown(request: HttpRequest) -> HttpResponse:
    """Answer an address that the API does not have."""
    return answers.error(request, ApiError(404, "not_found", "The API has no such address."))


CHALLENGE = {"WWW_Authenticate": "authtoken"}  # HTTP wants one beside every 401
NOT_FOUND = ApiError(404, "not_found", "Nothing with this id exists, or you have no access to it.")


def _check_method(request: HttpRequest, methods: tuple[str, ...]) -> None:
    if request.method not in methods:
        allowed = ", ".join(methods)
        raise ApiError(405, "method_not_allowed", f"This address accepts only {allowed}.", Allow=allowed)


def _caller(request: HttpRequest) -> Caller:
    text = request.headers.get("authtoken", "").strip()
    if not text:
        raise ApiError(401, "token_missing", "Send an API token in the header authtoken.", **CHALLENGE)
    token = ApiToken.objects.find(text)
    if token is None and ApiToken.objects.has_expired(text):
        raise ApiError(401, "token_expired", "The API token has expired. Make a new one under Settings.", **CHALLENGE)
    if token is None:
        raise ApiError(401, "token_invalid", "The API token is unknown or has been revoked.", **CHALLENGE)
    token.note_use()
    return Caller(token.user, _organization_uid(request, token.user))


def _organization_uid(request: HttpRequest, user: User) -> uuid.UUID:
    text = request.headers.get("organization_uid", "").strip()
    if not text:
        raise ApiError(400, "organization_missing", "Send the organization's uid in the header organization_uid.")
    # One answer for wrong ids and for others' organizations, which must not become known.
    forbidden = ApiError(403, "organization_forbidden", "The token's owner is not a member of this organization.")
    try:
        uid = uuid.UUID(text)
    except ValueError:
        raise forbidden from None
    if not Membership.objects.filter(user=user, organization=uid).exists():
        raise forbidden
    return uid


def _refusal(request: HttpRequest, problem: Exception) -> ApiError:
    match problem:
        case ApiError():
            return problem
        case Http404():
            return NOT_FOUND
        case BadRequest() | SuspiciousOperation():
            return ApiError(400, "bad_request", "The request cannot be read.")
        case _ if (fault := errors.let_go(problem)).passes:
            logger.warning("API, request %s: %s", getattr(request, "request_id", ""), errors.in_words(problem))
            retry_after = str(errors.RETRY_AFTER_S)
            return ApiError(503, "unavailable", f"{fault.sentence} Try again.", Retry_After=retry_after)
        case _:
            logger.error("API, request %s", getattr(request, "request_id", ""), exc_info=problem)
            return ApiError(500, "internal_error", "AgentOS failed with an unexpected error.")
