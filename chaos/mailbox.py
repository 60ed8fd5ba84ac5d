"""The mail server of the outside world: it writes each numbered e-mail to a file before it takes it.

Its answers about recipients of `SLOW` come a line every few seconds, as from a server that wants to hold its client.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path

SLOW = "drip.example.com"
DRIP_S, DRIPS = 2.0, 30


class Mailbox:
    def __init__(self, file: Path) -> None:
        self.file = file.open("ab", buffering=0)

    async def serve(self, address: str, port: int) -> None:
        await asyncio.start_server(self.session, address, port, backlog=2048)

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"220 mailbox\r\n")
            while line := await reader.readline():
                command = line[:4].upper()
                if command == b"RCPT" and SLOW.encode() in line:
                    await self.drip(writer)
                elif command == b"DATA":
                    writer.write(b"354 go on\r\n")
                    self.take(await reader.readuntil(b"\r\n.\r\n"))
                    writer.write(b"250 taken\r\n")
                elif command == b"QUIT":
                    return
                else:
                    writer.write(b"250 ok\r\n")
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def take(self, message: bytes) -> None:
        """Record an e-mail that has a number; the attackers' have none."""
        if found := re.search(rb"^Subject: number (\d+)", message, re.MULTILINE):
            self.file.write(json.dumps({"number": int(found[1])}).encode() + b"\n")
            os.fsync(self.file.fileno())

    async def drip(self, writer: asyncio.StreamWriter) -> None:
        for _ in range(DRIPS):
            writer.write(b"250-wait\r\n")
            await writer.drain()
            await asyncio.sleep(DRIP_S)
        writer.write(b"250 ok\r\n")
