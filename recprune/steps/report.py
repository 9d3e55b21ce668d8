"""Report: `reports/index.html` and a page per day, offline."""

from pathlib import Path


def report() -> Path:
    """Render the report."""
    return Path("reports/index.html")
