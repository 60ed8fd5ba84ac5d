#!/usr/bin/env python
"""Run administrative tasks."""

from __future__ import annotations

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import Error

from agentos_site.private_files import keep_private

WRITES_CODE = ("makemigrations", "new_connector")  # into the checkout, which others may read

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentos_site.settings")
    try:
        if sys.argv[1:2] not in [[command] for command in WRITES_CODE]:
            keep_private()
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:  # a setting's value: the sentence says which, a traceback would hide it
        sys.exit(str(error))
    except Error as error:
        from executions.store import errors

        if not errors.fault_of(error).passes:
            raise
        sys.exit(errors.in_words(error))
