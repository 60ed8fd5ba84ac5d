from __future__ import annotations

from typing import Any

from django.db import models


def reference(model: type[models.Model] | str, **options: Any) -> Any:
    """Return a foreign key that the database does not enforce."""
    return models.ForeignKey(model, models.DO_NOTHING, db_constraint=False, related_name="+", **options)
