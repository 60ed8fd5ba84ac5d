"""Every stable word that a machine may read in an answer, a receipt or an execution, with its meaning.

Whoever raises a new code declares it here: a test finds those that are not, and docs/trigger-urls.md and docs/api.md
are made from these tables. A code never changes its meaning; messages may be reworded at any time. What a step's own
connector can fail with is declared by the connector (`Action.errors`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """A refusal: the HTTP status, the `error.code` beside it, and when it is given."""

    status: int
    code: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an execution has its status: the status's label, the `reason_code`, and what it says."""

    status: str
    code: str
    meaning: str


BUSY = "Nothing is stored, see `Retry-After`: too many"

# Answered by `executions.intake`.
TRIGGER_URL = (
    Answer(400, "invalid_host", "`Host` is missing, comes twice, or is not in `ALLOWED_HOSTS`"),
    Answer(400, "invalid_length", "`Content-Length` is not a number"),
    Answer(400, "incomplete_body", "The body ended before its `Content-Length`, or before its last chunk"),
    Answer(400, "invalid_json", "Not JSON: empty, cut off, `NaN`, `Infinity`, comments, text after the value"),
    Answer(400, "number_out_of_range", "A number too large for a double, such as `1e400`"),
    Answer(400, "invalid_encoding", "Not UTF-8, or with a byte order mark"),
    Answer(400, "invalid_unicode", "JSON with half a character (a lone surrogate)"),
    Answer(400, "nul_character", "A NUL character; the message says where"),
    Answer(400, "too_deep", "JSON nested more than 64 levels"),
    Answer(400, "too_many_keys", "JSON with more than 10,000 keys"),
    Answer(400, "too_many_fields", "A form or query with more than 1,000 fields"),
    Answer(
        400, "invalid_idempotency_key", "A delivery's id that is not 1 to 255 visible ASCII characters without a comma"
    ),
    Answer(401, "secret_missing", "The trigger has a secret, and the request has none"),
    Answer(401, "secret_invalid", "The request's secret is not the trigger's"),
    Answer(404, "not_found", "No such trigger: unknown, replaced or deleted, all alike"),
    Answer(405, "method_not_allowed", "`Allow` says which. `HEAD`, `OPTIONS` and unknown methods too"),
    Answer(408, "body_too_slow", "The body was not complete within `BODY_TIME_S`, or nothing came for 10 s"),
    Answer(409, "not_activated", "The automation is not active; `result` says so in words"),
    Answer(413, "body_too_large", "More than `BODY_LIMIT` bytes; what a `Content-Length` states is not read"),
    Answer(415, "unsupported_media_type", "See the table of content types"),
    Answer(415, "unsupported_charset", "A charset other than UTF-8 or US-ASCII"),
    Answer(415, "unsupported_content_encoding", "A compressed body, by `Content-Encoding` or `Transfer-Encoding`"),
    Answer(
        422,
        "conditions_not_computed",
        "The trigger's conditions are more than 100, or need more than `COMPUTE_TIME_S` or `COMPUTE_MEMORY_MB`",
    ),
    Answer(422, "idempotency_key_reused", "The `Idempotency-Key` came with another method, query or body before"),
    Answer(429, "hard_limit", "The organization's executions of this month are used up"),
    Answer(431, "headers_too_large", "More than 16 KB of headers"),
    Answer(500, "internal_error", "AgentOS failed with an unexpected error"),
    Answer(502, "cancelled", "The execution was cancelled before its Response step; with `execution_id`"),
    Answer(502, "no_reply", "The execution ended before its Response step; with `execution_id`"),
    Answer(502, "unreadable_reply", "The stored reply cannot be read: a secret in it cannot be opened"),
    Answer(503, "unreadable_secret", "The trigger's secret cannot be read; the builder must make a new one"),
    Answer(
        503, "unavailable", "The database takes nothing; nothing is stored. Send it again after `Retry-After` seconds"
    ),
    Answer(503, "quiet", "The installation is a copy that starts nothing yet; nothing is stored, see `Retry-After`"),
    Answer(503, "too_many_bodies", f"{BUSY} requests of the organization being read: `OPEN_BODIES`, `BODY_MEMORY`"),
    Answer(503, "too_many_callers", f"{BUSY} callers of the organization waiting for a reply: `WAITING_CALLERS`"),
    Answer(503, "too_many_look_ups", f"{BUSY} look-ups of addresses that this client asks for"),
    Answer(503, "server_full", f"{BUSY} open requests: `CONNECTIONS`"),
    Answer(503, "server_stopping", "The web server stops before the body has come; nothing is stored"),
    Answer(504, "reply_interrupted", "The web server stops before the reply; the execution goes on; with its id"),
    Answer(
        504,
        "in_doubt",
        "The database went away in the middle of the commit, for more than 30 s: whether the request is stored is not "
        "known; with `execution_id`, and `status_url` tells once the database is back",
    ),
    Answer(503, "compute_busy", "Many large requests for this organization are being checked; nothing is stored"),
    Answer(504, "reply_timeout", "No reply within `REPLY_LIMIT_S`; the execution goes on; with `execution_id`"),
)

# What a receipt says besides the refusals above.
RECEIPTS = (
    Answer(200, "conditions_not_met", "The trigger's conditions are not met"),
    Answer(202, "duplicate", "The same delivery came before"),
    Answer(200, "missed", "A schedule's fire times passed while no cluster ran; see [schedules.md](schedules.md)"),
)

# Raised by `executions.models.retry`, answered by the API as 409.
RETRY = (
    Answer(409, "not_retryable", "Only a Failed execution of an automation can be retried"),
    Answer(409, "retry_limit_reached", "Both retries are used up"),
    Answer(409, "has_response_step", "The version that ran or the live one has a Response step"),
    Answer(409, "unreadable_version", "The version that ran or the live one cannot be read by this release"),
    Answer(409, "payload_removed", "Retention has removed its payload"),
    Answer(409, "trigger_replaced", "The trigger was replaced since"),
    Answer(409, "automation_inactive", "The automation is not active, or was deleted"),
)

# Raised by `executions.models.stopping`, answered by the API as 409.
CANCEL = (Answer(409, "already_ended", "It has ended already; the message says with which status"),)

# Answered by `executions.api`.
API = (
    Answer(400, "organization_missing", "No `organization_uid`"),
    Answer(400, "bad_request", "The query cannot be read"),
    Answer(401, "token_missing", "No `authtoken`"),
    Answer(401, "token_invalid", "The token is unknown, revoked, or of a person who is switched off"),
    Answer(401, "token_expired", "The token's time is over; its owner makes a new one under *Settings*"),
    Answer(403, "organization_forbidden", "The token's owner is not in this organization, or there is none"),
    Answer(404, "not_found", "No such address, or no such thing, or not yours: all alike"),
    Answer(405, "method_not_allowed", "`Allow` says which"),
    *RETRY,
    *CANCEL,
    Answer(422, "invalid_parameter", "The message begins with the parameter's name"),
    Answer(500, "internal_error", "AgentOS failed with an unexpected error"),
    Answer(503, "unavailable", "The database takes nothing now; `Retry-After` says when to try again"),
)

# Failures of a step that no connector declares: they can meet any step.
STEP = (
    Reason("Failed", "not_configured", "The step has no connector and action yet"),
    Reason(
        "Failed", "mapping_error", "A template of the step cannot be rendered; the reason names the path or the rule"
    ),
    Reason("Failed", "invalid_input", "A field of the step is empty or breaks its rule, once templates are rendered"),
    Reason("Failed", "step_time_limit", "The step took longer than its time limit"),
    Reason("Failed", "compute_time", "A template, query or condition took longer than `COMPUTE_TIME_S`"),
    Reason("Failed", "compute_memory", "A template, query or condition needed more than `COMPUTE_MEMORY_MB`"),
    Reason("Failed", "too_large_to_compute", "A query or condition would go over, or make, more than 20 MB"),
    Reason("Failed", "compute_failed", "The process that computed a template, query or condition ended twice"),
    Reason("Failed", "interrupted", "The worker died during a step that must never be repeated: it may have acted"),
    Reason("Failed", "step_failed", "The step failed with a code of its own that it does not name"),
)

# What the runner and the engine say of an execution.
REASONS = (
    Reason("Success", "skipped_failures", "Steps failed whose rule is to skip and continue"),
    Reason("Success", "condition_ended", "A *Continue only if* step ended the execution"),
    *STEP,
    Reason("Failed", "held_up", "A step's code held up its worker for more than 2 s of computing"),
    Reason("Failed", "internal_error", "AgentOS failed with an unexpected error; the server's log has the details"),
    Reason("Failed", "unsupported_step", "A step is of a kind that this release does not know"),
    Reason("Failed", "unreadable_version", "Its version cannot be read by this release"),
    Reason("Failed", "not_storable", "The database refuses a step's result"),
    Reason(
        "Failed",
        "unreadable_data",
        "An earlier result, or the trigger's payload, cannot be read back: it holds a secret that an older release "
        "sealed or that `FIELD_KEYS` does not open, or it is damaged",
    ),
    Reason("Failed", "too_large", "The payload and the results of earlier steps need more than 256 MB of memory"),
    Reason("Rejected", "cancelled", "A person cancelled it; the reason says who, and at which step it stopped"),
    Reason("Rejected", "time_limit", "It ran for longer than its allotted time"),
    Reason("Rejected", "worker_died", "Its worker died three times, and nothing else could be the cause"),
    Reason("Rejected", "stalled", "A step blocked its worker for more than 5 s, twice"),
    Reason(
        "Rejected",
        "restored",
        "It was under way when the data was copied, and the operator chose to end it: the original has run it",
    ),
    Reason("Partially Executed", "email_limit", "The organization's monthly e-mail maximum met an e-mail step"),
    Reason(
        "Pending",
        "direct_limit",
        "More direct starts than the organization has in this minute; it starts in a later one",
    ),
    Reason("Paused", "waiting", "A Wait step, or the pause before a step is tried again"),
    Reason("Paused", "newer_release", "It waits for an engine of a newer release, which can read its version"),
)
