"""What the documentation shows: its pages, the commands in them, and the words that a shell would make of each."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SHELLS = {"", "sh", "bash", "console"}
PROGRAMS = {"recprune", "make", "python", "git", "dvc", "cd", "echo", "cat", "cp", "docker", "mkdir", "openssl"}
"""First words of a block that make it one of commands where its language is not said."""
_BLOCK = re.compile(r"^```([\w-]*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str

    def is_of_commands(self) -> bool:
        """Say whether a reader would give it to a shell."""
        first = self.text.split(maxsplit=1)[0] if self.text.strip() else ""
        return self.language in SHELLS - {""} or (self.language == "" and first in PROGRAMS)

    def commands(self) -> list[str]:
        """Return the lines as a shell takes them, without prompts; what ends in a backslash goes on."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line.removeprefix("$ ").strip() for line in lines if line.strip()]


def blocks(page: Path) -> list[Block]:
    """Return a page's fenced blocks, in order."""
    return [Block(language, text) for language, text in _BLOCK.findall(page.read_text(encoding="utf-8"))]


def commands(page: Path) -> list[str]:
    """Return every command that a page shows in a block."""
    return [line for block in blocks(page) if block.is_of_commands() for line in block.commands()]


def parts(line: str) -> Iterator[list[str]]:
    """Yield the simple commands of a line, as words, without comments and redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&;|>")
    lexer.whitespace_split, words = True, list[str]()
    for word in lexer:
        if set(word) <= set("&;|>"):
            yield words
            words = []
        else:
            words.append(word)
    yield words
