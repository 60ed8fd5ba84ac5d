"""`python -m chaos`: traffic, faults, and a comparison of the promises with the stored data (docs/chaos.md)."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
from typing import Any

from chaos import moments
from chaos.faults import FAULTS
from chaos.hostile.arsenal import ATTACKS
from chaos.siege import AT_ONCE, TURN_S, Hostility
from chaos.trial import Trial, run
from harness import hosts
from harness.postgresql import Missing, binaries

QUICK = Trial(accepted=400, faults=8)
DATABASES = ("sqlite", "postgresql")
OF_ONE, OF_MACHINES = (10_000, 40), (10_000, 60)  # requests and faults
SHORT = {"LEASE_S": "6", "LOCK_LIMIT_S": "3"}  # settings of the short form


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.moments:
        return 0 if moments.run(options.moments, options.seed, _say) else 1
    if options.hosts and options.hosts > 1:
        return _machines(options)
    attacks = tuple(name for name in ATTACKS if not options.attack or any(part in name for part in options.attack))
    hostility = Hostility(attacks, options.at_once, options.turn) if options.hostile else None
    trial = _trial(
        options, *OF_ONE, hostility=hostility, seconds=options.seconds if options.hostile else 0.0,
        has_disk=hosts.separate_mounts(),
    )  # fmt: skip
    failed = [name for name in _databases(options.database) if not run(name, trial, say=_say)]
    if options.hosts is None and options.database == "both":
        failed += _beside(options)
    return 1 if failed else 0


def _machines(options: argparse.Namespace) -> int:
    """Run on several machines, each in namespaces of its own."""
    try:
        hosts.check()
        binaries()
    except (hosts.Missing, Missing) as reason:
        _say(f"no trial on {options.hosts} machines: {reason}")
        return int(bool(os.environ.get("CI")))
    hosts.separate()
    trial = _trial(options, *OF_MACHINES, hosts=options.hosts, settings=SHORT if options.quick else {})
    return 0 if run("postgresql", trial, say=_say) else 1


def _beside(options: argparse.Namespace) -> list[str]:
    """Run the trial on two machines in a process of its own, which may leave this machine's network."""
    command = [sys.executable, "-m", "chaos", "--hosts", "2", "--seed", str(options.seed)]
    command += ["--quick"] if options.quick else []
    command += [f"--only={part}" for part in options.only]
    for name in ("accepted", "faults"):
        command += [f"--{name}={value}"] if (value := getattr(options, name)) is not None else []
    trial = subprocess.Popen(command)
    try:
        return ["two machines"] if trial.wait() else []
    finally:
        trial.terminate()
        trial.wait()


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
    parser.add_argument("--accepted", type=int, help="requests of each trial: 10,000, or those of --quick")
    parser.add_argument("--faults", type=int, help=f"{OF_ONE[1]}, on several machines {OF_MACHINES[1]}")
    parser.add_argument("--hosts", type=int, help="machines; without it the trials on one, then that on two")
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
    if options.hosts is not None and options.database == "sqlite" and options.hosts > 1:
        parser.error("SQLite serves one machine")
    return options


def _trial(options: argparse.Namespace, accepted: int, faults: int, **more: Any) -> Trial:
    """Return a trial with what the options say, or else with these numbers."""
    if options.quick:
        accepted, faults = QUICK.accepted, QUICK.faults
    return Trial(
        options.accepted if options.accepted is not None else accepted,
        options.faults if options.faults is not None else faults,
        options.seed,
        tuple(name for part in options.only for name in FAULTS if part in name),
        is_long=not options.quick,
        **more,
    )


if __name__ == "__main__":
    sys.exit(main())
