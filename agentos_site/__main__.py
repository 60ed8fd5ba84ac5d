from __future__ import annotations

import sys

from agentos_site.service import main

sys.exit(main())
