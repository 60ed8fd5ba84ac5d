"""A name server of the trial's own, and `python -m chaos.names FILE COMMAND...`, which runs a command that asks it.

The command gets a mount namespace in which FILE is /etc/resolv.conf. That needs root: elsewhere the command asks the
machine's own name server, and calls go to addresses.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
from pathlib import Path

PORT = 53
KNOWN = b"echo.example"  # is this machine
SILENT = b"silent.example"  # names below it get no answer
A = 1
PRIVATE, BIND = 1 << 18 | 1 << 14, 1 << 12  # MS_PRIVATE | MS_REC, MS_BIND
CONFIGURATION = "/etc/resolv.conf"


def own_address() -> str:
    """Return a loopback address for this trial's name server, so that trials do not meet."""
    return f"127.53.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"


class Names(asyncio.DatagramProtocol):
    """Answers for KNOWN, is silent about names below SILENT, and knows no other name."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, query: bytes, sender: object) -> None:
        name, kind, end = question(query)
        if name.endswith(SILENT):
            return
        is_known = name == KNOWN
        has_address = is_known and kind == A
        flags = b"\x81\x80" if is_known else b"\x81\x83"
        head = query[:2] + flags + b"\0\1" + (b"\0\1" if has_address else b"\0\0") + b"\0\0\0\0"
        record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\x7f\0\0\1" if has_address else b""
        self.transport.sendto(head + query[12:end] + record, sender)  # type: ignore[attr-defined]


def question(query: bytes) -> tuple[bytes, int, int]:
    """Return the name in lower case, the kind of record, and where the question ends."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length])
        at += 1 + length
    return b".".join(labels).lower(), query[at + 2], at + 5


async def serve(address: str) -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(Names, local_addr=(address, PORT))


def configure(file: Path) -> None:
    """Let this process and its children read this file as /etc/resolv.conf; raise OSError where that is not allowed."""
    os.unshare(os.CLONE_NEWNS)
    _mount("none", "/", PRIVATE)
    _mount(str(file), CONFIGURATION, BIND)


def _mount(source: str, target: str, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), None, flags, None):
        raise OSError(ctypes.get_errno(), f"cannot mount {target}")


def are_possible(directory: Path) -> bool:
    """Return whether a child of ours can have names of its own."""
    file = directory / "resolv.conf"
    file.write_text(f"nameserver {own_address()}\n")
    file.chmod(0o644)
    return subprocess.run([sys.executable, "-m", "chaos.names", file, "true"], capture_output=True).returncode == 0


if __name__ == "__main__":
    configure(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
