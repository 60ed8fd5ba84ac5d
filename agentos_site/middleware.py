"""Middleware of all pages: request ids, an answer while the database is away, and the login page in place of parts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from urllib.parse import quote

import uuid_utils
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.template.loader import render_to_string
from django_htmx.http import HttpResponseClientRedirect

from executions.store import errors
from projects.accounts import hashing
from projects.htmx import HtmxRequest

logger = logging.getLogger(__name__)

type View = Callable[[HttpRequest], HttpResponse]


def request_id(get_response: View) -> View:
    """Give each answer an id in `X-Request-Id`, by which support finds the log lines of a user's request."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request.request_id = uuid_utils.uuid7().hex  # type: ignore[attr-defined]
        response = get_response(request)
        response["X-Request-Id"] = request.request_id  # type: ignore[attr-defined]
        return response

    return middleware


def private(get_response: View) -> View:
    """Have no answer stored by browsers or proxies, or found by search engines, unless its view says otherwise."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("X-Robots-Tag", "noindex, nofollow")
        return response

    return middleware


class Away:
    """Answers 503 with a page that needs no database, when a view could not reach it or has no turn for a password."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, hashing.Busy):
            headers = {"Retry-After": str(hashing.RETRY_AFTER_S)}
            return HttpResponse(render_to_string("busy.html"), status=503, headers=headers)
        fault = errors.let_go(error)
        if not fault.passes:
            return None
        logger.warning("a page cannot be answered: %s", errors.in_words(error))
        page = render_to_string("503.html", {"sentence": fault.sentence})
        return HttpResponse(page, status=503, headers={"Retry-After": str(errors.RETRY_AFTER_S)})


def sign_in_on_a_page_of_its_own(get_response: View) -> Callable[[HtmxRequest], HttpResponse]:
    """Send the whole browser window to the login page when a request for a part of a page finds the session ended.

    Without it htmx would follow the redirect and put the login form into that part.
    """
    login = resolve_url(settings.LOGIN_URL)

    def middleware(request: HtmxRequest) -> HttpResponse:
        response = get_response(request)
        if request.htmx and response.status_code == 302 and response["Location"].startswith(f"{login}?"):
            return HttpResponseClientRedirect(f"{login}?next={quote(request.htmx.current_url_abs_path or '/')}")
        return response

    return middleware
