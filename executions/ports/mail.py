"""E-mails of steps, sent by Django's SMTP backend in threads and counted against the organization's month."""

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
from functools import partial
from smtplib import (
    SMTPConnectError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
)
from socket import gaierror
from typing import Any

from django.core.mail import EmailMultiAlternatives
from django.core.mail.message import make_msgid
from django.db import Error, connection, transaction

from connectors.outbound.shares import Shares
from connectors.sdk.call import Message, NotBegun, StepError, StopPartially
from executions.store import errors, store
from projects.models import this_month

logger = logging.getLogger(__name__)

# Threads that send. A mail server that hangs or drips holds one until the time limit in settings.MAILERS, so
# organizations share them, and one alone has half. More of them could be more connections than a mail server allows.
PLACES = 32
ALONE = PLACES // 2
NOT_SENT = "Its e-mail waited for earlier ones of the organization, and has not been sent."
# Errors after which the mail server certainly has not taken the e-mail. After any other error it may have taken it.
NOT_TAKEN = (SMTPResponseException, ConnectionRefusedError, gaierror)
PAUSE_S = 0.5  # seconds between two tries while the database is away
GIVE_BACK_FOR_S = 60.0  # seconds of tries to uncount an e-mail: no engine outlives its database's absence for longer


class DjangoMail:
    """Sends e-mails in threads that organizations share, and makes the mail port of each organization."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(PLACES, thread_name_prefix="engine-mail")
        self.places = Shares(PLACES)

    def of(self, organization_id: uuid.UUID) -> OrganizationMail:
        return OrganizationMail(organization_id, self)

    async def in_thread[T](self, asker: str, function: Callable[..., T], *arguments: Any) -> T:
        """Return the result of a function that blocks, called in a thread once the asker's share has one.

        A thread cannot be stopped: when the caller is cancelled, it goes on alone until its e-mail's time is up, and
        still counts for the asker. A caller who is cancelled in the line leaves it, with NotBegun.
        """
        try:
            await self.places.take(asker)
        except asyncio.CancelledError:
            raise NotBegun(NOT_SENT) from None
        call = asyncio.wrap_future(self.threads.submit(function, *arguments))
        call.add_done_callback(partial(self._ended, asker))
        await asyncio.wait([call])  # unlike the call itself, waiting for it can be cancelled
        return call.result()

    def _ended(self, asker: str, call: asyncio.Future[Any]) -> None:
        call.exception()  # read here, too: the caller may have gone, and asyncio complains about what nobody reads
        self.places.give_back(asker)


@dataclass(frozen=True, slots=True)
class OrganizationMail:
    """The mail port of one organization's steps (`connectors.sdk.call.Mail`)."""

    organization_id: uuid.UUID
    mail: DjangoMail

    async def send(self, message: Message, *, key: str) -> str:
        """Send the e-mail and return its Message-ID.

        While the database is away this waits, as long as the time limits of step and execution allow. Raises
        StopPartially when the month's e-mails are used up, StepError when the e-mail could not be sent, and NotBegun
        when the caller is cancelled before its turn comes.
        """
        while True:
            try:
                return await self.mail.in_thread(str(self.organization_id), self._send, message, key)
            except Error as error:
                if not errors.fault_of(error).passes:
                    raise
                logger.warning("an e-mail waits for the database: %s", errors.in_words(error))
                await asyncio.sleep(PAUSE_S)

    def _send(self, message: Message, key: str) -> str:
        """Count the e-mail, then send it: counted afterwards, e-mails sent together could exceed the maximum."""
        month = this_month()
        if not self._in_database(lambda: store().take_email(self.organization_id, month)):
            raise StopPartially("The organization has reached its monthly e-mail maximum.", code="email_limit")
        try:
            return deliver(message, key=key)
        except StepError:
            self._give_back(month, time.monotonic() + GIVE_BACK_FOR_S)
            raise

    def _give_back(self, month: date, until: float) -> None:
        """Uncount an e-mail that ended in an error.

        While the database is away another thread tries again, so that the step can report the error without delay.
        """
        try:
            self._in_database(lambda: store().return_email(self.organization_id, month))
        except Error as error:
            if not errors.fault_of(error).passes:
                raise
            logger.warning("an e-mail that was not sent still counts: %s", errors.in_words(error))
            time.sleep(PAUSE_S)
            if time.monotonic() < until:
                self.mail.threads.submit(self._give_back, month, until)

    def _in_database[T](self, action: Callable[[], T]) -> T:
        try:
            with transaction.atomic():
                return action()
        finally:
            connection.close()


def deliver(message: Message, *, key: str = "", using: str = "default") -> str:
    """Send an e-mail and return its Message-ID; raise StepError with the reason when it could not be sent.

    A repetition with the same `key` has the same Message-ID, by which mail servers and readers know it; without a key
    it is a new one. `using` is one of settings.MAILERS, which says how long it may take. The error is `retryable` when
    the mail server is at fault, and `unknown` when it may have taken the e-mail.
    """
    message_id = f"<{key}@agentos>" if key else make_msgid(domain="agentos")
    headers = {"Message-ID": message_id}
    mail = EmailMultiAlternatives(
        message.subject, message.text, to=message.to, cc=message.cc, bcc=message.bcc, headers=headers
    )
    if message.html:
        mail.attach_alternative(message.html, "text/html")
    try:
        mail.send(using=using)
    except (HeaderParseError, ValueError):
        text = "The e-mail cannot be sent: an address or the subject has characters that e-mails cannot hold."
        raise StepError(text, code="invalid_email") from None
    except SMTPRecipientsRefused as error:
        refused = ", ".join(error.recipients)
        raise StepError(
            f"The mail server refused the address {refused}.", code="recipient_refused", external=True
        ) from None
    except (SMTPException, OSError) as error:
        is_answer = isinstance(error, SMTPException) and not isinstance(
            error, (SMTPConnectError, SMTPServerDisconnected)
        )
        text = (
            "The mail server did not accept the e-mail." if is_answer else "The connection to the mail server failed."
        )
        unknown = not isinstance(error, NOT_TAKEN)
        raise StepError(text, code="mail_server", external=True, retryable=True, unknown=unknown) from None
    return message_id
