"""The quiet state: an installation whose data is a copy starts, calls and sends nothing until its operator says so.

Whoever starts something asks here: engines before they begin and at each beat, trigger URLs, housekeeping, the
builder's tests, and what writes e-mails (docs/backup.md).
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

from django.conf import settings
from django.db import connection

from projects.home import home, is_same, place
from projects.models import Installation

logger = logging.getLogger(__name__)

LOOK_S = 2.0  # seconds between two looks of a process: so soon it goes on
RETRY_AFTER_S = 60  # seconds that a sender is asked to wait
ASKED = "The setting QUIET is on."
RESTORED = "Its data was restored from a backup."
COPIED = "Its data is a copy: it was at home in {then}, and is now {now}."
UNKNOWN = "The database has not answered yet whether its data is a copy."

_known = ""


def reason() -> str:
    """Return why this installation keeps quiet, as of the last look of this process; "" when it does not."""
    return ASKED if settings.QUIET else _known


def look() -> str:
    """Ask the database, and return the reason. Data that is at home nowhere yet is at home here from now on."""
    global _known
    _known = _why()
    return reason()


def _why() -> str:
    here = home()
    written = Installation.objects.first()
    if written is None:
        written, _ = Installation.objects.get_or_create(defaults={"home": here, "place": place()}, pk=1)
    if written.home == Installation.RESTORED:
        return RESTORED
    return "" if is_same(written.home, here) else COPIED.format(then=written.place, now=place())


def settle() -> None:
    """Make this place the home of the data, in the caller's transaction."""
    Installation.objects.update_or_create(pk=1, defaults={"home": home(), "place": place()})


class Watch(threading.Thread):
    """Looks every LOOK_S for a process that must not wait for the database; until the first answer it keeps quiet."""

    def __init__(self) -> None:
        super().__init__(name="quiet", daemon=True)
        self.has_looked = threading.Event()

    def start(self) -> None:
        global _known
        _known = UNKNOWN
        super().start()

    def run(self) -> None:
        pause = threading.Event()
        while True:
            try:
                look()
                self.has_looked.set()
            except Exception as error:
                logger.warning("whether the data is a copy cannot be told: %s", error)
                with suppress(Exception):  # of a dead connection: the next look opens a new one
                    connection.close()
            pause.wait(LOOK_S)
