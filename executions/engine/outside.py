"""What the executions of an engine reach beyond it: HTTP, the mail server, the compute children."""

from __future__ import annotations

import uuid
from typing import TypedDict

from django.conf import settings

from connectors.compute.shared import Compute
from connectors.outbound.addresses import parse_allow
from connectors.outbound.client import ExecutionOutbound, Outbound
from connectors.outbound.holding import Holding
from connectors.sdk.call import Mail
from executions.computing import new_pool
from executions.ports.mail import DjangoMail


class SharedPorts(TypedDict):
    mail: Mail
    compute: Compute


class Ports(SharedPorts):
    http: ExecutionOutbound
    holding: Holding


KNOWN = 1000  # organizations whose ports are kept


class Outside:
    """What the executions of one engine share; made in the thread of the event loop."""

    def __init__(self) -> None:
        self.http = Outbound(parse_allow(settings.OUTBOUND_ALLOW))
        self.mail = DjangoMail()
        self.pool = new_pool()
        self._ports: dict[uuid.UUID, SharedPorts] = {}

    def ports_of(self, organization_id: uuid.UUID) -> Ports:
        """Return the ports of one execution; what its `holding` has at its end must be given back."""
        shared = self._ports.get(organization_id)
        if shared is None:
            if len(self._ports) >= KNOWN:
                self._ports.clear()
            shared = self._ports[organization_id] = {
                "mail": self.mail.of(organization_id),
                "compute": Compute(self.pool, organization_id),
            }
        http = self.http.of(organization_id)
        return {"http": http, "holding": http.holding, **shared}

    async def close(self) -> None:
        await self.http.close()
        self.pool.close()
