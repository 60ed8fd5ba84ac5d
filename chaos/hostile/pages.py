"""Open log tabs, and floods of pages and of the API, in the hostile organization's own session."""

from __future__ import annotations

import asyncio
import re

from chaos.hostile.attack import Attack, Field, together

TABS = 100
POLLS = 4  # of a tab in a round
POLL_S = 2.0
ROW = re.compile(rb'id="execution-([0-9a-f-]{36})" data-rev="(\d+)"')
FLOOD = 60
PAGES = (
    "executions/", "executions/?status=failed", "executions/?q=" + "%25_" * 700, "executions/?before=" + "0" * 32,
    "executions/delta/?rows=" + "x," * 2000, "usage/", "automations/", "automations/?page=99999999", "variables/",
)  # fmt: skip
API = ("executions?limit=100&include_count=true&skip=10000", "executions?status=failed,rejected,pending", "automations")


async def open_tabs(field: Field) -> None:
    page = await field.door.get(field.page("executions/"), cookies=await field.session(), within=30.0)
    shown = b",".join(uid + b":" + rev for uid, rev in ROW.findall(page.body)).decode()
    await together(*(_poll(field, shown, turn * POLL_S / TABS) for turn in range(TABS)))


async def _poll(field: Field, shown: str, after_s: float) -> None:
    await asyncio.sleep(after_s)
    for _ in range(POLLS):
        path = field.page(f"executions/delta/?rows={shown}")
        await field.door.get(path, cookies=await field.session(), within=30.0)
        await asyncio.sleep(POLL_S)


async def flood(field: Field) -> None:
    cookies = await field.session()
    await together(
        *(field.door.get(field.page(PAGES[turn % len(PAGES)]), cookies=cookies, within=30.0) for turn in range(FLOOD)),
        at_once=20,
    )


async def ask_the_api(field: Field) -> None:
    """Ask with tokens that are none."""
    requests = [
        field.door.request("GET", f"/v1/projects/{field.project}/{API[turn % len(API)]}",
                           {"authtoken": f"t{turn}" * 20, "organization_uid": field.project})
        for turn in range(FLOOD)
    ]  # fmt: skip
    await together(*(field.door.send(request, within=30.0) for request in requests), at_once=20)


ATTACKS = (
    Attack("100 log tabs", open_tabs, pause_s=0.1),
    Attack("page flood", flood, pause_s=0.2),
    Attack("API flood", ask_the_api, pause_s=0.2),
)
