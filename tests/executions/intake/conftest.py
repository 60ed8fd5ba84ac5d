from __future__ import annotations

from collections.abc import Callable

import pytest

from automations.models import Automation


@pytest.fixture
def automation(make_automation: Callable[..., Automation]) -> Automation:
    """Return an active automation whose trigger URL asks for no secret."""
    automation = make_automation()
    automation.remove_secret()
    return automation
