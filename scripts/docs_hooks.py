"""Hooks of mkdocs, which mkdocs.yml names: the page of settings, and folders of pages in the navigation."""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SETTINGS = "settings.md"


def pages(folder: str, docs: Path) -> list[str]:
    """Return a folder's pages as the navigation names them: README first, then by name."""
    found = sorted((docs / folder).glob("*.md"), key=lambda page: (page.name != "README.md", page.name))
    return [page.relative_to(docs).as_posix() for page in found]


def on_config(config: Any) -> Any:
    """Put its pages where the navigation names a folder; mkdocs calls this."""
    docs = Path(config["docs_dir"])
    for entry in config["nav"]:
        for title, value in entry.items():
            if isinstance(value, str) and value.endswith("/"):
                entry[title] = pages(value, docs)
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the page of settings to those of the site; mkdocs calls this."""
    from mkdocs.structure.files import File

    sys.path.insert(0, str(ROOT))  # a hook is loaded by its path
    try:
        from scripts.settings_page import page

        files.append(File.generated(config, SETTINGS, content=page()))
    finally:
        sys.path.remove(str(ROOT))
    return files
