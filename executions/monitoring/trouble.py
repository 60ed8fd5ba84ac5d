"""Why no engine runs: each cluster leaves its reason in the database, where every web server finds it."""

from __future__ import annotations

import errno
import logging
import platform
from datetime import timedelta

from django.db import Error, connection
from django.db.models import Q
from django.db.models.functions import Now

from executions.models import Trouble
from executions.store import errors

TOLD_FOR = timedelta(minutes=2)  # longer than the pauses between two tries to start an engine
KEPT_FOR = timedelta(days=1)
FULL = "The disk of DATA_DIR is full."
UNWRITABLE = "An engine cannot write to DATA_DIR."
OUT_OF_FILES = "The cluster may open too few files: raise their limit (LimitNOFILE of systemd, `ulimit -n`)."
UNKNOWN = "An engine failed at its start."
NO_ENGINE = "No engine is running."

logger = logging.getLogger(__name__)


def sentence_of(error: BaseException) -> str:
    """Return the reason in words for everybody: no path and no value of the error itself."""
    if isinstance(error, Error):
        return errors.fault_of(error).sentence
    if not isinstance(error, OSError):
        return UNKNOWN
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return OUT_OF_FILES
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FULL
    return UNWRITABLE if error.filename else UNKNOWN


def note(sentence: str) -> None:
    """Leave the reason why this host's cluster has no engine, if the database takes it."""
    _replace(sentence)


def forget() -> None:
    """Take this host's reason back, if the database takes it: its cluster has an engine, or is about to."""
    _replace("")


def _replace(sentence: str) -> None:
    host = platform.node()[:200]
    try:
        Trouble.objects.filter(Q(at__lt=Now() - KEPT_FOR) | Q(host=host)).delete()
        if sentence:
            Trouble.objects.update_or_create(host=host, defaults={"sentence": sentence, "at": Now()})
    except Error as error:
        logger.warning("the reason cannot be left in the database: %s", errors.in_words(error))
    finally:
        connection.close()


def why_no_engine() -> str:
    """Return why no engine runs, as the clusters have said of late, and what to do; raise an error of the database."""
    found = Trouble.objects.filter(at__gte=Now() - TOLD_FOR).order_by("-at").values_list("sentence", flat=True).first()
    return f"{NO_ENGINE} {found or 'Start the cluster: manage.py qcluster.'} Its log says more."
