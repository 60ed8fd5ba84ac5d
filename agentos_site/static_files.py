"""Static files as they are served: compressed, and named by their content, so that a browser may keep them for ever."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage  # type: ignore[import-untyped]

IMPORT = r"""(?P<matched>(?P<word>from|import) "(?P<url>\./[\w-]+\.js)")"""


class StaticFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    # What our scripts import is named by its content too; Django's own search would go through the admin's for seconds.
    patterns = (*CompressedManifestStaticFilesStorage.patterns, ("js/*.js", ((IMPORT, '%(word)s "%(url)s"'),)))
