"""`manage.py qcluster`, in place of django-q2's command of the same name."""

from __future__ import annotations

import os
import sys
from typing import Any, ClassVar

from django_q.management.commands.qcluster import Command as QCluster

from executions.engine import cluster
from executions.engine.host import raise_file_limit
from executions.monitoring.database import Unsuited, wait_until_usable


class Command(QCluster):  # type: ignore[misc]
    """Runs django-q2's cluster with an engine in each worker, and fails when its sentinel was killed."""

    requires_system_checks: ClassVar[list[str]] = []  # `migrate` and the web server's pages need what they look at
    help = "Run the django-q2 cluster, whose workers run the executions. Without a cluster executions stay Pending."

    def handle(self, *args: Any, **options: Any) -> None:
        if not sys.stdin.isatty() and os.getpgrp() != os.getpid():
            os.setpgrp()  # lets end_the_cluster() kill all processes as one group
        raise_file_limit()
        try:
            wait_until_usable(lambda reason: self.stderr.write(reason))
        except Unsuited as why:
            sys.exit(str(why))
        cluster.install()
        cluster.schedule_housekeeping()
        if name := options["cluster_name"]:
            os.environ["Q_CLUSTER_NAME"] = name
        main = cluster.Cluster()
        main.start()
        if options["run_once"]:
            main.stop()
        main.wait()
        sys.stdout.flush()
        os._exit(0)  # nothing is left to do: taking the interpreter apart would hold up the stop for half a second
