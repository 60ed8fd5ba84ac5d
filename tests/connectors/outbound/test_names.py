"""Looking names up: one organization's names that hang are nobody else's trouble."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from connectors.outbound import names
from connectors.outbound.client import Outbound
from connectors.outbound.names import LookUps, SystemNames
from connectors.sdk.call import StepError
from tests.support.acting import LOOPBACK, NOTHING_ALLOWED, Remote, failure, ok
from tests.support.nameserver import NameServer

GOOD = {f"good-{n}.test": ["127.0.0.1"] for n in range(40)}


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer(
        GOOD | {"both.test": ["127.0.0.1", "::1"], "six.test": ["::1"], "mixed.test": ["127.0.0.1", "8.8.8.8"]},
        silent=(".silent",),
    )
    yield server
    server.close()


def outbound_of(server: NameServer, **more: Any) -> Outbound:
    return Outbound(LOOPBACK, resolve=SystemNames([server.address]), **more)


def test_names_that_hang_do_not_delay_another_organizations_names(server: NameServer) -> None:
    async def scenario() -> tuple[list[int], bool]:
        async with Remote(ok) as remote, outbound_of(server) as http:
            hanging = [
                asyncio.create_task(http.of("A").request("GET", f"http://name-{n}.silent:{remote.port}/", timeout_s=60))
                for n in range(1200)
            ]
            await asyncio.sleep(0)
            good = [http.of("B").request("GET", f"http://{name}:{remote.port}/", timeout_s=60) for name in GOOD]
            answers = await asyncio.gather(*good)
            all_still_hang = not any(task.done() for task in hanging)
            for task in hanging:
                task.cancel()
            await asyncio.gather(*hanging, return_exceptions=True)
            return [answer.status for answer in answers], all_still_hang

    assert asyncio.run(scenario()) == ([200] * 40, True)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("outbound-dns")]


def test_what_hangs_ends_with_a_reason_and_is_not_asked_for_again_at_once(server: NameServer) -> None:
    async def scenario() -> list[StepError]:
        async with outbound_of(server) as http:
            errors = await asyncio.gather(
                *(http.of("A").request("GET", f"http://name-{n}.silent/", timeout_s=60) for n in range(120)),
                return_exceptions=True,
            )
            asked = len(server.asked)
            with pytest.raises(StepError) as again:
                await http.of("B").request("GET", "http://name-7.silent/")
            assert len(server.asked) == asked
            return [again.value, *(error for error in errors if isinstance(error, StepError))]

    errors = asyncio.run(scenario())

    assert len(errors) == 121
    assert {error.code for error in errors} == {"cannot_resolve"}
    assert errors[0].retryable and str(errors[0]) == "AgentOS could not resolve the name name-7.silent."


def test_a_failure_is_forgotten_and_only_so_many_are_remembered(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "REMEMBERED", 10)

    async def scenario() -> list[str]:
        look_ups = LookUps(SystemNames([server.address]))
        for n in range(30):
            with pytest.raises(OSError):
                await look_ups.addresses(f"unknown-{n}.test", 80, "A")
        assert len(look_ups.failed) == 10
        server.known["unknown-29.test"] = ["127.0.0.1"]
        with pytest.raises(OSError):
            await look_ups.addresses("unknown-29.test", 80, "A")
        look_ups.failed.clear()  # as after FORGET_S
        found = await look_ups.addresses("unknown-29.test", 80, "A")
        await look_ups.close()
        return found

    monkeypatch.setattr(names, "FORGET_S", 60)
    assert asyncio.run(scenario()) == ["127.0.0.1"]


def test_a_process_that_stood_still_asks_again(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "RESOLVE_S", 2.0)
    monkeypatch.setattr(names, "STOOD_STILL_S", 0.5)

    async def scenario() -> list[str]:
        look_ups = LookUps(SystemNames([server.address]))
        look_up = asyncio.create_task(look_ups.addresses("late.silent", 80, "A"))
        while not server.asked:
            await asyncio.sleep(0.01)
        time.sleep(3)  # the process stands still
        server.known["late.silent"], server.silent = ["127.0.0.1"], ()
        try:
            return await look_up
        finally:
            await look_ups.close()

    assert asyncio.run(scenario()) == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("name", "addresses"),
    [("good-1.test", {"127.0.0.1"}), ("both.test", {"127.0.0.1", "::1"}), ("six.test", {"::1"}),
     ("GOOD-2.Test", {"127.0.0.1"}), ("good-3.test.", {"127.0.0.1"})],
)  # fmt: skip
def test_a_name_has_its_addresses(server: NameServer, name: str, addresses: set[str]) -> None:
    async def scenario() -> list[str]:
        look_ups = LookUps(SystemNames([server.address]))
        try:
            return await look_ups.addresses(name, 80, "A")
        finally:
            await look_ups.close()

    assert set(asyncio.run(scenario())) == addresses


@pytest.mark.parametrize(
    "name",
    [
        "unknown.test",
        "0177.0.0.1",
        "127.1",
        "0x7f.0x1",
        "2130706433",
        "a.test.1.",
        "broken.test",
        "a..test",
        "x" * 64 + ".test",
        "\udcff.test",
    ],
)
def test_a_name_without_addresses_cannot_be_resolved(server: NameServer, name: str) -> None:
    server.broken.add("broken.test")

    async def scenario() -> None:
        look_ups = LookUps(SystemNames([server.address]))
        try:
            with pytest.raises((OSError, UnicodeError)):
                await look_ups.addresses(name, 80, "A")
        finally:
            await look_ups.close()

    asyncio.run(scenario())


def test_names_of_the_hosts_file_need_no_name_server(server: NameServer) -> None:
    async def scenario() -> list[str]:
        look_ups = LookUps(SystemNames([server.address]))
        try:
            return await look_ups.addresses("localhost", 80, "A")
        finally:
            await look_ups.close()

    assert "127.0.0.1" in asyncio.run(scenario())
    assert server.asked == []


def test_a_name_server_that_is_quick_else_may_take_its_time_for_one_name(server: NameServer) -> None:
    server.known["far.test"] = ["127.0.0.1"]
    server.delay["far.test"] = 3.0  # as when it has to ask its way through

    async def scenario() -> list[str]:
        look_ups = LookUps(SystemNames([server.address]))
        try:
            for name in GOOD:
                await look_ups.addresses(name, 80, "A")
            return await look_ups.addresses("far.test", 80, "A")
        finally:
            await look_ups.close()

    assert asyncio.run(scenario()) == ["127.0.0.1"]


def test_every_address_of_a_name_is_checked(server: NameServer) -> None:
    outbound = Outbound(NOTHING_ALLOWED, resolve=SystemNames([server.address]))

    assert asyncio.run(failure("http://mixed.test/", outbound=outbound)).code == "address_not_allowed"


def test_who_asks_for_the_same_name_shares_the_look_up(server: NameServer) -> None:
    async def scenario() -> None:
        async with Remote(ok) as remote, outbound_of(server) as http:
            url = f"http://good-1.test:{remote.port}/"
            await asyncio.gather(*(http.of("A").request("GET", url) for _ in range(50)))

    asyncio.run(scenario())

    assert server.asked.count("good-1.test") == 2  # for its IPv4 and its IPv6 addresses


def test_a_port_of_steps_works_after_its_loop_was_another(server: NameServer) -> None:
    outbound = outbound_of(server)

    async def once() -> int:
        async with Remote(ok) as remote, outbound as http:
            return (await http.request("GET", f"http://good-1.test:{remote.port}/")).status

    assert [asyncio.run(once()), asyncio.run(once())] == [200, 200]
