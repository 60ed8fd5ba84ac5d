"""A model field for JSON that keeps the order of its keys: Django's JSONField is jsonb, which sorts them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:  # only mypy's TextField takes the types of its values in brackets
    Text = models.TextField[Any, Any]
else:
    Text = models.TextField


class OrderedJSONField(Text):
    """JSON kept as text: a builder finds headers, filters and mapped fields in the order in which they were written."""

    # What django-stubs reads to type the attribute: any JSON.
    _pyi_private_set_type: Any
    _pyi_private_get_type: Any
    _pyi_lookup_exact_type: Any

    def from_db_value(self, value: str | None, *_: object) -> Any:
        """Return the stored value, or the text itself when it is no JSON: a damaged row must cost no other row."""
        try:
            return None if value is None else json.loads(value)
        except (ValueError, RecursionError):
            return value

    def to_python(self, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def value_to_string(self, obj: models.Model) -> str:
        return self.get_prep_value(self.value_from_object(obj)) or ""
