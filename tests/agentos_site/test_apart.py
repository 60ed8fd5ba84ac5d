"""A web server and a cluster that share a PostgreSQL and the keys, and no folder: so on machines of their own."""

from __future__ import annotations

from pathlib import Path

from harness.automations import AUTOMATIONS, make
from harness.installation import Installation, copy_of


def test_a_web_server_alone_and_a_cluster_alone_serve_together(
    prepared_on_postgresql: Installation, tmp_path: Path
) -> None:
    (of_web := tmp_path / "web").mkdir()
    (of_cluster := tmp_path / "cluster").mkdir()
    with copy_of(prepared_on_postgresql, of_web) as web:
        cluster = web.copy(of_cluster, web.database)
        try:
            web.start_web()
            made = make(web, {name: AUTOMATIONS[name] for name in ("transform", "respond", "wait")})
            waiting = made.start("transform")
            assert web.get("/readyz")[0] == 503

            cluster.start_cluster()

            made.wait(waiting)
            assert made.post("respond", {"name": "ada"}) == (200, {"name": "ADA"})
            made.wait(made.start("wait"), within=60)
            assert web.get("/readyz")[0] == 200
        finally:
            cluster.kill()
            cluster.check_leftovers()
