"""Text as people may see it: nothing that steers a terminal or forges a line, and no secrets."""

import os
import re
import unicodedata

HIDDEN = "…"
"""Stands for what was left out."""
_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Control characters, marks that turn the direction or have no width, halves of characters, separators of lines."""
_SECRETS = (
    (re.compile(r"://[^/\s@]+@|://[^/\s@:]*:(?!\d+(?:[/\s]|$))[^\s@]{0,200}@"), f"://{HIDDEN}@"),  # keys may have a /
    (re.compile(r"(?i)([?&](?:[a-z0-9_.-]*(?:signature|token|secret|password|key|credential)|sig)=)[^&\s'\"]+"),
     rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b((?:[a-z0-9]+[_-])*(?:secret|password|passwd|token|api[_-]?key|access[_-]?key|secret[_-]key)"
                r"(?:[_-][a-z0-9]+)*['\"]?\s?[=:]\s?['\"]?)[^\s'\",;&]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer\s+)[^\s'\"]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)(https?://(?:[a-z0-9-]+\.)*hooks?\.[^/\s]+/)[^\s'\"]+"), rf"\1{HIDDEN}"),
)  # fmt: skip
_NAMED_SECRET = re.compile(r"(?i)(secret|password|passwd|token|credential|access_key|api_key)")
_SHORTEST = 8
"""Characters of a value of the environment that is looked for; a shorter one would be found in words."""


def printable(text: str) -> str:
    r"""Return text in which what steers a terminal is written out; line ends and tabs stay.

    >>> printable("red\x1b[31m, \u202etxet\n")
    'red\\x1b[31m, \\u202etxet\n'
    """
    if text.isprintable():
        return text
    return "".join(_written(c) if unicodedata.category(c) in _STEERING and c not in "\n\t" else c for c in text)


def one_line(text: str) -> str:
    r"""Return text that is printable and cannot begin a line of its own.

    >>> one_line("a\nerror: forged")
    'a\\nerror: forged'
    """
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def redacted(text: str) -> str:
    """Return text without what looks like a secret, or is the value of an environment variable that is called one.

    >>> redacted("https://me:pw@host/a?X-Amz-Signature=abc&part=2")
    'https://…@host/a?X-Amz-Signature=…&part=2'
    """
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and _NAMED_SECRET.search(name) and value in text:
            text = text.replace(value, HIDDEN)
    for pattern, kept in _SECRETS:
        text = pattern.sub(kept, text)
    return text


def holds_secret(text: str) -> bool:
    """Say whether a text has what looks like a secret, whatever the environment holds.

    >>> holds_secret("s3://KEY:SEC/RET@logs"), holds_secret("s3://logs/a@b:1")
    (True, False)
    """
    return any(pattern.search(text) for pattern, _ in _SECRETS)


def told(text: str) -> str:
    """Return text as it may be printed and logged."""
    return printable(redacted(text))


def _written(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
