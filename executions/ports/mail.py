"""E-mail of steps: through Django's SMTP backend in a thread, counted against the organization's month."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from email.errors import HeaderParseError
from smtplib import SMTPException, SMTPRecipientsRefused, SMTPResponseException
from socket import gaierror
from typing import Any

from django.core.mail import EmailMultiAlternatives
from django.core.mail.message import make_msgid
from django.db import connection, transaction

from connectors.sdk.call import Message, StepError, StopPartially
from executions.store import store
from executions.store.away import AWAY
from projects.models import this_month

logger = logging.getLogger(__name__)

THREADS = 16  # an SMTP server that hangs holds a thread for EMAIL_TIMEOUT seconds
NOT_TAKEN = (SMTPResponseException, ConnectionRefusedError, gaierror)  # of what else goes wrong it may have been
PAUSE_S = 0.5
LONGEST_S = 60.0  # after which a count is not given back: no engine outlives its database's absence for that long


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
        """Send it, and wait for the database for as long as the step and its execution may last."""
        while True:
            try:
                return await self.mail.in_thread(self._send, message)
            except AWAY as error:
                logger.warning("an e-mail waits for the database: %s", error)
                await asyncio.sleep(PAUSE_S)

    def _send(self, message: Message) -> str:
        month = this_month()
        if not self._in_database(lambda: store().take_email(self.organization_id, month)):
            raise StopPartially("The organization has reached its monthly e-mail maximum.", code="email_limit")
        try:
            return deliver(message)
        except StepError:
            self._give_back(month, time.monotonic() + LONGEST_S)
            raise

    def _give_back(self, month: date, until: float) -> None:
        """Count it no more: later where the database is away, because what the mail server said must not wait."""
        try:
            self._in_database(lambda: store().return_email(self.organization_id, month))
        except AWAY as error:
            logger.warning("an e-mail that was not sent still counts: %s", error)
            time.sleep(PAUSE_S)
            if time.monotonic() < until:
                self.mail.threads.submit(self._give_back, month, until)

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
    except (HeaderParseError, ValueError):
        text = "The e-mail cannot be sent: an address or the subject has characters that e-mails cannot hold."
        raise StepError(text, code="invalid_email") from None
    except SMTPRecipientsRefused as error:
        refused = ", ".join(error.recipients)
        raise StepError(
            f"The mail server refused the address {refused}.", code="recipient_refused", outside=True
        ) from None
    except (SMTPException, OSError) as error:
        text = "The mail server did not accept the e-mail."
        unknown = not isinstance(error, NOT_TAKEN)
        raise StepError(text, code="mail_server", outside=True, retryable=True, unknown=unknown) from None
    return message_id
