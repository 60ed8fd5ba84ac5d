"""E-mail of steps: through Django's SMTP backend in a thread, counted against the organization's month."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.errors import HeaderParseError
from smtplib import SMTPException, SMTPRecipientsRefused
from typing import Any

from django.core.mail import BadHeaderError, EmailMultiAlternatives
from django.core.mail.message import make_msgid
from django.db import connection, transaction

from connectors.call import Message, StepError, StopPartially
from executions.store import store
from projects.models import this_month

THREADS = 16  # an SMTP server that hangs holds a thread for EMAIL_TIMEOUT seconds


class DjangoMail:
    """Makes the mail port of an organization."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="engine-mail")
        self.abandoned = 0  # threads whose execution does not wait for them any more

    def of(self, organization_id: uuid.UUID) -> OrganizationMail:
        return OrganizationMail(organization_id, self)

    async def in_thread[T](self, function: Callable[..., T], *arguments: Any) -> T:
        """Run something that blocks; cancelled, it is left alone until it ends by itself."""
        future = self.threads.submit(function, *arguments)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.done():
                self.abandoned += 1
                future.add_done_callback(self._came_back)
            raise

    def _came_back(self, _: object) -> None:
        self.abandoned -= 1


@dataclass(frozen=True, slots=True)
class OrganizationMail:
    organization_id: uuid.UUID
    mail: DjangoMail

    async def send(self, message: Message, *, key: str) -> str:
        return await self.mail.in_thread(self._send, message)

    def _send(self, message: Message) -> str:
        month = this_month()
        if not self._in_database(lambda: store().take_email(self.organization_id, month)):
            raise StopPartially("The organization's monthly e-mail maximum is reached.", code="email_limit")
        try:
            return deliver(message)
        except StepError:
            self._in_database(lambda: store().return_email(self.organization_id, month))
            raise

    def _in_database[T](self, action: Callable[[], T]) -> T:
        try:
            with transaction.atomic():
                return action()
        finally:
            connection.close()


def deliver(message: Message) -> str:
    message_id = make_msgid(domain="agentos")
    headers = {"Message-ID": message_id}
    mail = EmailMultiAlternatives(
        message.subject, message.text, to=message.to, cc=message.cc, bcc=message.bcc, headers=headers
    )
    if message.html:
        mail.attach_alternative(message.html, "text/html")
    try:
        mail.send()
    except (BadHeaderError, HeaderParseError, ValueError) as error:
        raise StepError(f"The e-mail cannot be sent: {error}", code="invalid_email") from None
    except SMTPRecipientsRefused as error:
        refused = ", ".join(error.recipients)
        raise StepError(f"The mail server refused {refused}.", code="recipient_refused", outside=True) from None
    except (SMTPException, OSError) as error:
        text = f"The mail server did not take the e-mail: {type(error).__name__}."
        raise StepError(text, code="mail_server", outside=True, retryable=True) from None
    return message_id
