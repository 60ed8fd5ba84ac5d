"""Faults of workers, clusters and web servers: killed, stopped, replaced."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from chaos.burst import burst
from chaos.faults.kinds import Fault
from harness.processes import Process, children, group_is_alive, is_running, send, until

if TYPE_CHECKING:
    from chaos.nemesis import Nemesis

BURSTS = 12  # kills of one fault at most; about half of the kills have hit both sides
SOON_S = 1.0  # seconds after a start within which it is interrupted
DRAIN_S = 20.0  # seconds within which a program ends, as docs/operating.md promises


def kill(pid: int) -> None:
    send(pid, signal.SIGKILL)


def kill_worker(nemesis: Nemesis) -> None:
    kill(nemesis.a_worker())


def kill_after_effect(nemesis: Nemesis) -> None:
    """Kill the workers when a call outside is recorded, before its result can be stored."""
    workers = until(nemesis.scene.workers, within=30, what="a worker")
    nemesis.scene.arm(workers)
    until(lambda: not is_running(workers[0]), within=30, what="the next effect has killed the workers")


def pause_worker(nemesis: Nemesis) -> None:
    """Stop a worker for twice its lease: a peer takes over and kills it, or its late writes change nothing."""
    worker = nemesis.a_worker()
    send(worker, signal.SIGSTOP)
    time.sleep(2 * nemesis.scene.lease_s)
    send(worker, signal.SIGCONT)


def kill_pusher(nemesis: Nemesis) -> None:
    """Kill a child of the sentinel other than a worker: django-q2's pusher or monitor."""
    sentinel = children(nemesis.cluster.pid)[0]
    others = [pid for pid in children(sentinel) if pid not in nemesis.scene.workers()]
    kill(nemesis.random.choice(others))


def kill_sentinel(nemesis: Nemesis) -> None:
    old = nemesis.cluster
    kill(children(old.pid)[0])
    until(lambda: not group_is_alive(old.pid), within=15, what="nothing is left of the cluster")
    old.popen.wait(5)
    nemesis.place.start_cluster()


def kill_cluster(nemesis: Nemesis) -> None:
    nemesis.cluster.kill()
    time.sleep(nemesis.random.uniform(0, 2))
    nemesis.place.start_cluster()


def deploy(nemesis: Nemesis) -> None:
    """Start a new cluster beside the old one, then end the old one as an operator does."""
    old = nemesis.cluster
    nemesis.place.start_cluster()
    assert old.terminate(within=30) == 0, "the old cluster ended with an error"
    assert not group_is_alive(old.pid), "the old cluster left a process behind"


def race_clusters(nemesis: Nemesis) -> None:
    """Run a second cluster for a while, then kill it."""
    second = nemesis.place.start_another_cluster()
    time.sleep(nemesis.random.uniform(1, 4))
    second.kill()


def kill_web(nemesis: Nemesis) -> None:
    """Kill the web server amid posts, again until kills have come both after and before a commit."""
    for _ in range(BURSTS):
        nemesis.bursts.append(burst(nemesis.scene, nemesis.driver, nemesis.place, nemesis.random.uniform(0, 0.1)))
        if all(map(sum, zip(*nemesis.bursts, strict=True))):
            return


def interrupt_starts(nemesis: Nemesis) -> None:
    """End web server and cluster, and interrupt their next starts within a second: one by SIGKILL, one by SIGTERM."""
    place = nemesis.place
    place.stop()
    for number in (signal.SIGKILL, signal.SIGTERM):
        for launch in (place.launch_web, place.launch_cluster):
            process = launch()
            time.sleep(nemesis.random.uniform(0, SOON_S))
            send(process.pid, number)
            _await_the_end(nemesis, process, number)
    place.start()


def _await_the_end(nemesis: Nemesis, process: Process, number: signal.Signals) -> None:
    try:
        until(lambda: not process.is_alive and not group_is_alive(process.pid), within=DRAIN_S)
    except AssertionError:
        nemesis.wrong("I8 a start that was interrupted has left a process", f"{number.name} to {process.pid}")
    process.kill()


FAULTS = {
    "kill -9 a worker": Fault(strike=kill_worker, hits_engines=True),
    "kill -9 between effect and result": Fault(strike=kill_after_effect, hits_engines=True, is_everywhere=True),
    "kill -9 the cluster": Fault(strike=kill_cluster, hits_engines=True),
    "deploy, old beside new": Fault(strike=deploy, ends_engines=True),
    "kill -9 the web server": Fault(strike=kill_web, hits_web=True),
    "a worker stands still for 2 leases": Fault(strike=pause_worker, hits_engines=True, holds_file=True, takes_s=20.0),
    "two clusters race": Fault(strike=race_clusters, hits_engines=True),
    "kill -9 pusher or monitor": Fault(strike=kill_pusher, hits_engines=True),
    "kill -9 the sentinel": Fault(strike=kill_sentinel, hits_engines=True),
    "starts are interrupted": Fault(strike=interrupt_starts, hits_web=True, ends_engines=True),
}
