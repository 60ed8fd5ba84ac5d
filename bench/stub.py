"""The outside world of `call-api`: `python -m bench.stub PORT` answers after `?ms=` milliseconds."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web


async def answer(request: web.Request) -> web.Response:
    await asyncio.sleep(int(request.query.get("ms", "200")) / 1000)
    return web.json_response({"ok": True})


async def main(port: int) -> None:
    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=2048).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
