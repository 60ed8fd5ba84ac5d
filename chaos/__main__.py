"""`python -m chaos`: traffic, faults, and a comparison of the promises with the stored data (docs/chaos.md)."""

from __future__ import annotations

import argparse
import secrets
import signal
import sys

from chaos import moments
from chaos.hostile.arsenal import ATTACKS
from chaos.nemesis import FAULTS
from chaos.siege import AT_ONCE, TURN_S, Hostility
from chaos.trial import Trial, run
from harness.postgresql import Missing, binaries

QUICK = Trial(accepted=400, faults=8)
DATABASES = ("sqlite", "postgresql")


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.moments:
        return 0 if moments.run(options.moments, options.seed, _say) else 1
    only = tuple(name for part in options.only for name in FAULTS if part in name)
    attacks = tuple(name for name in ATTACKS if not options.attack or any(part in name for part in options.attack))
    hostility = Hostility(attacks, options.at_once, options.turn) if options.hostile else None
    trial = Trial(
        options.accepted, options.faults, options.seed, only, is_long=not options.quick, hostility=hostility,
        seconds=options.seconds if options.hostile else 0.0,
    )  # fmt: skip
    return 1 if [name for name in _databases(options.database) if not run(name, trial, say=_say)] else 0


def _databases(chosen: str) -> list[str]:
    if chosen != "both":
        return [chosen]
    try:
        binaries()
    except Missing as reason:
        _say(f"SQLite only: {reason}")
        return ["sqlite"]
    return list(DATABASES)


def _say(text: str) -> None:
    print(text, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument("--accepted", type=int, default=10_000, help="requests, on each database")
    parser.add_argument("--faults", type=int, default=40)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the faults' order and moments")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK.accepted} accepted, {QUICK.faults} faults")
    parser.add_argument("--only", action="append", default=[], help="a part of a fault's name; may be given again")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the attack at least")
    parser.add_argument("--hostile", action=argparse.BooleanOptionalAction, default=True,
                        help="another organization attacks all the time")  # fmt: skip
    parser.add_argument("--attack", action="append", default=[], help="a part of an attack's name; may be given again")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="attacks that take turns side by side")
    parser.add_argument("--turn", type=float, default=TURN_S, help="seconds of one attack's turn")
    parser.add_argument("--moments", type=int, default=0, metavar="COUNT",
                        help="instead of traffic: signals to each program at so many moments of its life")  # fmt: skip
    options = parser.parse_args()
    if unknown := [part for part in options.attack if not any(part in name for name in ATTACKS)]:
        parser.error(f"no attack is named so: {', '.join(unknown)}")
    if unknown := [part for part in options.only if not any(part in name for name in FAULTS)]:
        parser.error(f"no fault is named so: {', '.join(unknown)}")
    if options.quick:
        options.accepted, options.faults = QUICK.accepted, QUICK.faults
    return options


if __name__ == "__main__":
    sys.exit(main())
