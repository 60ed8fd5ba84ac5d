"""What every error of the database means, and what follows: the one table that whoever meets such an error asks.

docs/postgresql.md shows the table to operators.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from django.db import DataError, Error, IntegrityError, InterfaceError, OperationalError, connection

RETRY_AFTER_S = 5  # seconds after which a sender is asked to come again


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A kind of error and what follows.

    `sentence` is for people outside, so it tells nothing about the data. `passes`: another try may succeed, so trigger
    URLs, API and pages answer 503 with Retry-After, and engines try again; else they answer 500. `blames_values`: what
    was to be stored caused it, so a batch is stored item by item, and an engine fails the one execution. `drops`: the
    connection is closed, because it is dead, is at the wrong server, or has a state that nobody here knows.
    """

    name: str
    sentence: str
    passes: bool = True
    blames_values: bool = False
    drops: bool = True


AWAY = Fault(name="away", sentence="The database is unreachable.")
# What libpq says when `sslmode` asks for more than the server shows; such errors have no code.
UNTRUSTED = {
    "does not match host name": Fault(
        name="untrusted", sentence="The certificate of the database is for another name than the one in DATABASE_URL."
    ),
    "certificate verify failed": Fault(
        name="untrusted", sentence="The certificate of the database is not valid for the authority in sslrootcert."
    ),
    "server does not support SSL": Fault(
        name="untrusted", sentence="The database offers no TLS, which DATABASE_URL asks for."
    ),
}
READ_ONLY = Fault(name="read-only", sentence="The database takes no writes.")
LOCKED = Fault(name="locked", sentence="The database is busy.", drops=False)
POISONED = Fault(name="poisoned connection", sentence="A connection to the database failed.")
BEHIND = Fault(name="behind", sentence="The database lacks tables of this release.")
VALUE = Fault(name="value", sentence="The database refuses a value.", passes=False, blames_values=True, drops=False)
BUG = Fault(name="bug", sentence="AgentOS failed with an unexpected error.", passes=False)

FAULTS = (AWAY, *UNTRUSTED.values(), READ_ONLY, LOCKED, POISONED, BEHIND, VALUE, BUG)

# PostgreSQL's codes (its documentation, appendix A): of five characters, and of two for the rest of their class.
SQLSTATES = {
    "08": AWAY,  # connection exceptions
    "08P01": POISONED,  # protocol violation
    "0A000": POISONED,  # "cached plan must not change result type", after a migration
    "21": VALUE,  # one statement changes a row twice
    "22": VALUE,
    "23": VALUE,
    "25": POISONED,  # a transaction in another state than the code believes
    "25006": READ_ONLY,  # a standby, or default_transaction_read_only
    "25P03": AWAY,  # idle in a transaction for too long: the server has closed the connection
    "25P04": AWAY,  # the same, for the whole transaction
    "26000": POISONED,  # a prepared statement does not exist
    "28": AWAY,  # who may connect
    "34000": POISONED,  # a cursor does not exist
    "3D000": AWAY,  # the database does not exist
    "3F000": BEHIND,  # a schema does not exist
    "40": LOCKED,  # serialization failure, deadlock, conflict with recovery
    "40003": AWAY,  # whether the statement took effect is not known
    "42501": READ_ONLY,  # the role may not write
    "42703": BEHIND,  # a column does not exist
    "42704": BEHIND,  # a type does not exist
    "42883": BEHIND,  # a function does not exist
    "42P01": BEHIND,  # a table does not exist
    "42P05": POISONED,  # a prepared statement exists already
    "53": AWAY,  # memory or connections are used up
    "53100": READ_ONLY,  # the disk is full
    "54": VALUE,  # longer than an index or a row can hold
    "55": LOCKED,  # lock not available, object in use
    "55000": AWAY,  # the database accepts no connections
    "57": AWAY,  # shutting down, starting
    "57014": LOCKED,  # cancelled by a time limit, or for a standby's recovery
    "58": AWAY,  # the server's files
    "P0": VALUE,  # raised by a trigger of the operator's
}

# SQLite's primary result codes (sqlite.org/rescode.html).
RESULT_CODES = {
    sqlite3.SQLITE_BUSY: LOCKED,
    sqlite3.SQLITE_LOCKED: LOCKED,
    sqlite3.SQLITE_INTERRUPT: LOCKED,
    sqlite3.SQLITE_PROTOCOL: LOCKED,
    sqlite3.SQLITE_READONLY: READ_ONLY,
    sqlite3.SQLITE_FULL: READ_ONLY,
    sqlite3.SQLITE_PERM: READ_ONLY,
    sqlite3.SQLITE_AUTH: READ_ONLY,
    sqlite3.SQLITE_IOERR: AWAY,
    sqlite3.SQLITE_CANTOPEN: AWAY,
    sqlite3.SQLITE_NOMEM: AWAY,
    sqlite3.SQLITE_NOLFS: AWAY,
    sqlite3.SQLITE_ABORT: POISONED,
    sqlite3.SQLITE_SCHEMA: POISONED,
    sqlite3.SQLITE_MISUSE: POISONED,
    sqlite3.SQLITE_TOOBIG: VALUE,
    sqlite3.SQLITE_CONSTRAINT: VALUE,
    sqlite3.SQLITE_MISMATCH: VALUE,
    sqlite3.SQLITE_RANGE: VALUE,
}
LACKING = ("no such table", "no such column", "has no column named", "no such index", "no such function")
POOLER_HINT = " If DATABASE_URL names a pooler such as PgBouncer, name the PostgreSQL server itself instead."
LOCK_TIMEOUT = "55P03"  # SQLSTATE of a statement that has waited too long for somebody's lock
PIPELINE_ABORTED = "PipelineAborted"  # psycopg's, after another error of the connection's pipeline


def fault_of(error: BaseException) -> Fault:
    """Return the kind of an error; one that no database raised is about the values that were to be stored."""
    if not isinstance(error, Error):
        return VALUE
    cause = error.__cause__
    if sqlstate := getattr(cause, "sqlstate", None):
        return SQLSTATES.get(sqlstate) or SQLSTATES.get(sqlstate[:2], BUG)
    if (code := getattr(cause, "sqlite_errorcode", None)) is not None:
        return _of_sqlite(code & 0xFF, str(error))
    if type(cause).__name__ == PIPELINE_ABORTED:
        return POISONED
    return _by_type(error)


def _of_sqlite(code: int, text: str) -> Fault:
    if code == sqlite3.SQLITE_ERROR and any(words in text for words in LACKING):
        return BEHIND
    return RESULT_CODES.get(code, BUG)


def _by_type(error: Error) -> Fault:
    """Return the kind of an error without a code: the driver itself raised it, mostly because a connection is dead."""
    if isinstance(error, (DataError, IntegrityError)):
        return VALUE
    for words, fault in UNTRUSTED.items():
        if words in str(error):
            return fault
    return AWAY if isinstance(error, (OperationalError, InterfaceError)) else BUG


def is_lock_timeout(error: BaseException) -> bool:
    """Return whether somebody's lock is the cause: the database is there, and has undone the transaction."""
    return getattr(error.__cause__, "sqlstate", None) == LOCK_TIMEOUT


def let_go(error: BaseException) -> Fault:
    """Return the kind of an error, once this thread's connection is closed where that is needed."""
    fault = fault_of(error)
    if (fault.drops and isinstance(error, Error)) or getattr(connection.connection, "closed", False):
        forget_connection()
    return fault


def forget_connection() -> None:
    """Close this thread's connection, so that its next statement opens a new one; never raise."""
    try:
        connection.close()
    except Exception:  # closing a dead connection may fail; without it Django opens a new one all the same
        connection.connection = None


def in_words(error: BaseException) -> str:
    """Return the kind of an error with the line of its text that tells most, for the log and for operators."""
    fault = fault_of(error)
    lines = (str(error).strip() or type(error).__name__).splitlines()
    telling = next((line for line in lines if any(words in line for words in UNTRUSTED)), lines[0])
    return f"{fault.sentence.rstrip('.')} ({telling.strip(' -.')}).{POOLER_HINT if fault is POISONED else ''}"
