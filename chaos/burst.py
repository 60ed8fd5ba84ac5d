"""The web server dies in a burst of posts, after the commit of some and before the commit of others."""

from __future__ import annotations

import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from chaos.driver import Driver, Post
from chaos.scene import Scene
from harness.installation import Installation
from harness.processes import until
from projects.ids import first_id_at

POSTERS = 30
ENOUGH = 20  # posts in flight when the web server is killed


def burst(scene: Scene, driver: Driver, place: Installation, after_s: float) -> tuple[int, int]:
    """Kill a web server; return the numbers of unanswered posts that are stored, and that are not stored."""
    start, before = datetime.now(UTC), len(driver.posts)
    web, is_over = place.web, threading.Event()
    assert web is not None
    with ThreadPoolExecutor(POSTERS) as pool:
        posting = [pool.submit(_post, driver, place, is_over, is_keyed=poster % 3 == 0) for poster in range(POSTERS)]
        until(lambda: len(driver.posts) > before + POSTERS, every=0.0005, what="the first are answered")
        time.sleep(after_s)
        until(lambda: driver.in_flight >= ENOUGH, every=0.0005, what=f"{ENOUGH} posts are in flight")
        web.kill()
        is_over.set()
        place.start_web()
    lost = {post.number for one in posting for post in one.result() if post.outcome == "unknown"}
    stored = len(lost & _numbers_since(scene, start))
    return stored, len(lost) - stored


def _post(driver: Driver, place: Installation, is_over: threading.Event, *, is_keyed: bool) -> list[Post]:
    """Post one after the other; repeat an unanswered post only if it has a key, by which it finds its execution."""
    posts = []
    while not is_over.is_set():
        posts.append(driver.post("transform", key=f"burst-{uuid.uuid4().hex}" if is_keyed else "", place=place))
    return posts


def _numbers_since(scene: Scene, start: datetime) -> set[int]:
    """Return the numbers of the posts since `start` that are stored."""
    sql = "SELECT input FROM executions_steprun WHERE attempt = 0 AND execution_id >= %s AND organization_id = %s"
    rows = scene.installation.query(sql, [first_id_at(start), scene.made.organization])
    inputs = (json.loads(row["input"]) for row in rows)
    return {payload["body"]["number"] for payload in inputs if "body" in payload}
