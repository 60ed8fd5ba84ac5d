"""What the executions of an engine reach beyond it: HTTP, the mail server, the compute children."""

from __future__ import annotations

import uuid
from typing import TypedDict

from django.conf import settings

from connectors.compute.shared import Compute
from connectors.outbound.addresses import parse_allow
from connectors.outbound.client import Outbound
from connectors.sdk.call import Http, Mail
from executions.computing import new_pool
from executions.ports.mail import DjangoMail


class Ports(TypedDict):
    http: Http
    mail: Mail
    compute: Compute


KNOWN = 1000  # organizations whose ports are kept


class Outside:
    """The ports of one engine, which all its executions share; made in the thread of the event loop."""

    def __init__(self) -> None:
        self.http = Outbound(parse_allow(settings.OUTBOUND_ALLOW))
        self.mail = DjangoMail()
        self.pool = new_pool()
        self._ports: dict[uuid.UUID, Ports] = {}

    def ports_of(self, organization_id: uuid.UUID) -> Ports:
        ports = self._ports.get(organization_id)
        if ports is None:
            if len(self._ports) >= KNOWN:
                self._ports.clear()
            ports = self._ports[organization_id] = {
                "http": self.http.of(organization_id),
                "mail": self.mail.of(organization_id),
                "compute": Compute(self.pool, organization_id),
            }
        return ports

    async def close(self) -> None:
        await self.http.close()
        self.pool.close()
