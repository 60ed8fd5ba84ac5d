"""How long a session lasts: until nobody has used it for SESSION_HOURS."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.models import Session
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from projects.htmx import wants_part

RENEWED_TIMES = 12  # how often a session is prolonged within its time: each costs a write
SWEPT = 20  # sessions that are over and go at a sign-in
USED_AT = "used_at"


def idle_sessions_end(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Prolong the session of somebody who uses the pages. Pages that ask for their own news by themselves do not."""
    every_s = settings.SESSION_COOKIE_AGE / RENEWED_TIMES

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        session = request.session
        is_used = request.method != "GET" or not wants_part(request)
        is_served = response.status_code < 500  # else the database may be away
        if is_served and session.accessed and SESSION_KEY in session and is_used:
            now = int(time.time())
            if not 0 <= now - session.get(USED_AT, 0) < every_s:
                session[USED_AT] = now  # which stores the session and its cookie anew
        return response

    return middleware


@receiver(user_logged_in)
def begin(request: HttpRequest, **_: Any) -> None:
    request.session[USED_AT] = int(time.time())


def forget_old_sessions() -> None:
    """Remove some sessions that are over: each sign-in makes one, and removes more."""
    over = Session.objects.filter(expire_date__lt=timezone.now())
    over.filter(pk__in=list(over.values_list("pk", flat=True)[:SWEPT])).delete()
