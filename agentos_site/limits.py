"""The settings that say how much an installation does at once, and how much of it one person or organization takes."""

from __future__ import annotations

import os

from agentos_site.setting_kinds import SECONDS, Group, Setting, whole

# --- how much it does at once

WORKERS = Setting(
    name="WORKERS",
    kind=whole(1),
    default=2,
    meaning="Worker processes of the cluster, with one engine in each. More than two pay off where there are more "
    "cores and steps compute much.",
)
ENGINE_SLOTS = Setting(
    name="ENGINE_SLOTS",
    kind=whole(1),
    default=1000,
    meaning="Executions that one engine runs at once, and as many again of organizations below their share.",
)
LEASE_S = Setting(
    name="LEASE_S",
    kind=whole(3, 600),
    default=10,
    meaning="How long an engine may be silent before another one takes its executions over. A shorter time shortens "
    "what a crashed machine holds up; on a busy one it takes healthy engines for dead.",
)
LOCK_LIMIT_S = Setting(
    name="LOCK_LIMIT_S",
    kind=whole(1, 60),
    default=5,
    meaning="How long an engine's write waits for rows that somebody else has locked in PostgreSQL. Then only the "
    "executions of those rows wait on.",
)
REPLY_LIMIT_S = Setting(
    name="REPLY_LIMIT_S",
    kind=SECONDS,
    default=30.0,
    meaning="How long a caller waits for a Response step before the answer is 504.",
)
BODY_LIMIT = Setting(
    name="BODY_LIMIT",
    kind=whole(1),
    default=3 * 1024 * 1024,
    meaning="Bytes that a request may send to a trigger URL; larger ones are refused with 413.",
)

# --- how much of the door one sender may take

CONNECTIONS = Setting(
    name="CONNECTIONS",
    kind=whole(200),
    default=10_000,
    meaning="Connections that the web server holds open at once; fewer where the system allows fewer open files.",
)
WAITING_CALLERS = Setting(
    name="WAITING_CALLERS",
    kind=whole(1),
    default=2000,
    meaning="Callers of one organization that wait for a Response step at once; the next one is answered 503.",
)
OPEN_BODIES = Setting(
    name="OPEN_BODIES",
    kind=whole(1),
    default=2000,
    meaning="Request bodies that are read at once for one organization, or on pages for one client address.",
)
BODY_MEMORY = Setting(
    name="BODY_MEMORY",
    kind=whole(1),
    default=64 * 1024 * 1024,
    meaning="Bytes of such bodies that are held in memory until they are stored; all senders together have three times "
    "as many.",
)
BODY_TIME_S = Setting(
    name="BODY_TIME_S",
    kind=SECONDS,
    default=30.0,
    meaning="How long a request's body may take to arrive; a sender that is silent for 10 s is refused sooner.",
)

# --- signing in

SIGN_IN_TRIES = Setting(
    name="SIGN_IN_TRIES",
    kind=whole(1, 1000),
    default=5,
    meaning="Wrong sign-ins of one username from one address, after which the next one is possible every 5 minutes.",
)
SESSION_HOURS = Setting(
    name="SESSION_HOURS",
    kind=whole(1, 8760),
    default=12,
    meaning="Hours without use after which people have to sign in again.",
)
PASSWORD_HASHES = Setting(
    name="PASSWORD_HASHES",
    kind=whole(1, 256),
    default=lambda: max(1, (os.cpu_count() or 1) // 2),
    default_in_words="half of the cores",
    meaning="Passwords that the web server checks at a time; each takes a third of a second of a core.",
)

# --- what strangers' data may cost

COMPUTE_CHILDREN = Setting(
    name="COMPUTE_CHILDREN",
    kind=whole(1),
    default=2,
    meaning="Large templates, queries and conditions that an engine, or the web server, computes at once, each in a "
    "process of its own. An organization holds one less than that at most.",
)
COMPUTE_TIME_S = Setting(
    name="COMPUTE_TIME_S",
    kind=whole(1, 60),
    default=2,
    meaning="Seconds of computing that one template, query or group of conditions may take.",
)
COMPUTE_MEMORY_MB = Setting(
    name="COMPUTE_MEMORY_MB",
    kind=whole(64),
    default=256,
    meaning="Megabytes of memory that one template, query or group of conditions may take.",
)

GROUPS = (
    Group(
        "Capacity",
        (WORKERS, ENGINE_SLOTS, REPLY_LIMIT_S, BODY_LIMIT, COMPUTE_CHILDREN, COMPUTE_TIME_S, COMPUTE_MEMORY_MB),
    ),
    Group("Crashes and locks", (LEASE_S, LOCK_LIMIT_S)),
    Group("Fair shares", (CONNECTIONS, WAITING_CALLERS, OPEN_BODIES, BODY_MEMORY, BODY_TIME_S)),
    Group("Signing in", (SESSION_HOURS, SIGN_IN_TRIES, PASSWORD_HASHES)),
)
