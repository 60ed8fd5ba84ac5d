"""The outside world, `python -m chaos.echo ADDRESS PORT FILE MAIL_PORT MAIL_FILE NAMES`: it records, then answers.

A recorded call did happen, whoever was killed meanwhile: the checker compares the Execution Log with the record. It
answers with the request that it was sent, secrets included, after `?ms=` milliseconds and with `?pad=` dots; paths that
begin with /fail answer 500.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from chaos import names
from chaos.mailbox import Mailbox

KEY = "Idempotency-Key"


class Echo:
    def __init__(self, file: Path) -> None:
        self.file = file.open("ab", buffering=0)
        self.doomed: list[int] = []  # the processes that the next effect kills

    async def effect(self, request: web.Request) -> web.Response:
        self.record(request, await request.json())
        for pid in self.doomed:
            kill(pid)
        self.doomed.clear()
        await asyncio.sleep(int(request.query.get("ms", "0")) / 1000)
        answer = {**request.headers, "padding": "." * int(request.query.get("pad", "0"))}
        return web.json_response(answer, status=500 if request.path.startswith("/fail") else 200)

    def record(self, request: web.Request, body: Any) -> None:
        line = {"at": time.time(), "key": request.headers.get(KEY, ""), "number": body["number"]}
        self.file.write(json.dumps(line).encode() + b"\n")
        os.fsync(self.file.fileno())

    async def arm(self, request: web.Request) -> web.Response:
        self.doomed = await request.json()
        return web.json_response({})


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


async def main(address: str, port: int, file: Path, mail_port: int, mail_file: Path, name_server: str) -> None:
    await Mailbox(mail_file).serve(address, mail_port)
    if name_server:
        await names.serve(name_server)
    echo, application = Echo(file), web.Application()
    application.router.add_post("/-/arm", echo.arm)
    application.router.add_post("/{path:.*}", echo.effect)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, port, backlog=2048).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    where, number, record, mail_number, letters, name_server = sys.argv[1:]
    asyncio.run(main(where, int(number), Path(record), int(mail_number), Path(letters), name_server))
