"""Whether a text that people read is a sentence of ours."""

from __future__ import annotations

import re

FOREIGN = re.compile(
    r"Input should|Field required|Extra inputs|pydantic|Value error|Assertion|Traceback|validation error|ctx|NoneType"
    r"|valid (?:string|integer|number|list|dict|boolean|datetime)|unable to|\bdict\b|\bstr\b|\bint\b|\bfloat\b|\bNone\b"
    r"|liquid|token|end of (?:file|expression)|expected |found |jmespath expression|lexer|arity|received"
    r"|(?<!\w)(?!AgentOS|JMESPath)[A-Z][a-z]+(?:[A-Z][a-z]+)+(?!\w)|Error\b|Exception"
)
QUOTED = re.compile(r"“[^”]*”|`[^`]*`", re.DOTALL)  # what somebody wrote themselves


def is_ours(sentence: str) -> bool:
    """Return whether a text is a whole sentence without anything that a library or Python would say."""
    said = QUOTED.sub("“”", sentence)
    return bool(re.match(r"[A-Z“]|`", said)) and said[-1] in ".”/" and not FOREIGN.search(said)
