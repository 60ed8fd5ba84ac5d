from __future__ import annotations

import sys

from django.core.exceptions import ImproperlyConfigured

try:
    from agentos_site.service import main

    sys.exit(main())
except ImproperlyConfigured as error:  # a setting's value: the sentence says which, a traceback would hide it
    sys.exit(str(error))
