"""The e-mail with the link that sets a forgotten password.

A thread sends it, so that the page answers at once, and alike for known and unknown addresses.
"""

from __future__ import annotations

import logging
import queue
import threading
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.forms import PasswordResetForm
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import EmailMessage
from django.db import connections
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from projects import quiet
from projects.accounts.guessing import in_words
from projects.models.tries import Rule, Tries

ASKED = Rule("reset: asked by an address", 5, timedelta(minutes=2))
SENT = Rule("reset: sent to an e-mail address", 3, timedelta(minutes=15))
WAITING = 100  # requests that may wait for the mail server; further ones are dropped, which the log says

logger = logging.getLogger(__name__)


class Post:
    """Sends the links, one after the other, in a thread that starts with the first of them."""

    def __init__(self) -> None:
        self.waiting: queue.Queue[str] = queue.Queue(WAITING)
        self.start = threading.Lock()
        self.thread: threading.Thread | None = None

    def send(self, address: str) -> None:
        """Have the link sent to whoever has this e-mail address, if anybody has."""
        if why := quiet.reason():
            logger.error("a link for a new password is not sent: %s", why)
            return
        try:
            self.waiting.put_nowait(address)
        except queue.Full:
            logger.error("a link for a new password is not sent: the mail server is too slow")
        with self.start:
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self._send_all, name="password-links", daemon=True)
                self.thread.start()

    def _send_all(self) -> None:
        while True:
            address = self.waiting.get()
            try:
                send_links(address)
            except Exception as error:  # of the database or the mail server; the thread goes on
                logger.error("a link for a new password could not be sent: %s", type(error).__name__)
            finally:
                connections.close_all()
                self.waiting.task_done()


post = Post()


def send_links(address: str) -> None:
    """Send each active person with this e-mail address a link of their own, unless they got some just now."""
    people = list(PasswordResetForm().get_users(address))
    if not people or Tries.objects.take(SENT.of(address.casefold())):
        return
    for person in people:
        _message(person).send(using="notices")


def _message(person: User) -> EmailMessage:
    token = default_token_generator.make_token(person)
    path = reverse("projects:new-password", args=[urlsafe_base64_encode(force_bytes(person.pk)), token])
    context = {
        "name": person.get_username(),
        "link": f"{settings.BASE_URL}{path}",  # never the request's host, which its sender chooses
        "base_url": settings.BASE_URL,
        "time": in_words(timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT)),
    }
    text = render_to_string("registration/_reset_mail.txt", context)
    return EmailMessage("Set a new password for AgentOS", text, to=[person.email])
