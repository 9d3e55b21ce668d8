"""The recprune page in Airflow's interface: the pages that `recprune report` writes, behind Airflow's login.

Airflow mounts an application under `/recprune` and lists it in its menu. It serves pages and JSON files of
`reports/` in the workspace, by a list of names and nothing else, to who may read the DAG `recprune_daily`. It only
reads, and imports nothing from recprune. What it adds to a page: links to the runs and tasks that the page names.

Set where Airflow's API server sees it: ``RECPRUNE_WORKSPACE``, as for the DAG.
"""

import os
import re
import secrets
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

DAG = "recprune_daily"
PREFIX = "/recprune"
BASE = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
"""Path of Airflow's interface, where it does not lie at the root of its host."""

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:\.r[0-9]{1,4})?"
_PAGE = re.compile(rf"(?:{_DAY}/)?index\.html|days\.html")
_JSON = re.compile(rf"{_DAY}/(?:gate|evaluation|prune|measurements|validation/verdict)\.json")
_RUN = re.compile(r'<span class="run" data-run="([^"<>]+)"(?: data-task="([a-z]+)")?>([^<>]*)</span>')

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='none' stroke='{ink}'"
    " stroke-width='1.6' stroke-linecap='round'%3E%3Cpath d='M8 15V8M8 8 3 3M8 8l5-5M8 11l4-2'/%3E%3Ccircle cx='4'"
    " cy='11' r='.8'/%3E%3C/svg%3E"
)

FRAME = """\
// Airflow shows the page in a frame that may not navigate the window around it; a link of that window may.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[target=_top]");
  if (!link || window.parent === window) return;
  event.preventDefault();
  const around = window.parent.document.createElement("a");
  around.href = link.href;
  around.target = event.ctrlKey || event.metaKey ? "_blank" : "_self";
  around.click();
});
"""


def find(name: str) -> Path | None:
    """Return the file of `reports/` that a name stands for; None for every name that is not on the list.

    Raises:
        RuntimeError: the environment names no workspace.
    """
    if not (_PAGE.fullmatch(name) or _JSON.fullmatch(name)):
        return None
    workspace = Path(os.environ.get("RECPRUNE_WORKSPACE", ""))
    if not workspace.is_absolute():
        raise RuntimeError(
            "RECPRUNE_WORKSPACE is not the absolute path of a workspace. Set it for Airflow's API server and start it "
            "again."
        )
    reports = (workspace / "reports").resolve()
    file = (reports / name).resolve()  # what a link points to elsewhere is not of the reports
    return file if file.is_relative_to(reports) and file.is_file() else None


def dress(page: str, nonce: str) -> str:
    """Add the links to Airflow, and what lets the page's own style and this script pass the policy."""
    page = _RUN.sub(_linked, page)
    runs = f'<nav><a href="{BASE}/dags/{DAG}/runs" target="_top">Runs in Airflow</a> '
    page = page.replace("<style>", f'<style nonce="{nonce}">', 1).replace("<nav>", runs, 1)
    return page.replace("</body>", f'<script nonce="{nonce}">{FRAME}</script></body>')


def _linked(found: re.Match[str]) -> str:
    run, task, text = found.groups()
    where = f"{BASE}/dags/{DAG}/runs/{quote(unescape(run), safe='')}" + (f"/tasks/{task}" if task else "")
    return f'<a class="run" href="{where}" target="_top">{text}</a>'


def headers(nonce: str) -> dict[str, str]:
    """Return what a browser may do with an answer: show it, in Airflow's own frame at most, and load nothing."""
    policy = {
        "default-src": "'none'",
        "style-src": f"'nonce-{nonce}'",
        "script-src": f"'nonce-{nonce}'",
        "img-src": "data:",
        "frame-ancestors": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


def application() -> Any:
    """Return the application; every address of it asks for Airflow's login first."""
    from airflow.api_fastapi.core_api.security import requires_access_dag
    from fastapi import Depends, FastAPI, HTTPException, Request
    from fastapi.responses import PlainTextResponse, RedirectResponse, Response

    app = FastAPI(
        title="recprune",
        dependencies=[Depends(requires_access_dag("GET", param_dag_id=DAG))],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )

    @app.get("/{name:path}")
    def serve(name: str) -> Response:
        nonce = secrets.token_urlsafe(16)
        if name == "":
            return RedirectResponse(f"{BASE}{PREFIX}/index.html", headers=headers(nonce))
        try:
            file = find(name)
        except RuntimeError as error:
            return PlainTextResponse(str(error), 503, headers(nonce))
        if file is None:
            told = "There is no such page. The report is written at the end of a day, and by: recprune report"
            return PlainTextResponse(told, 404, headers(nonce))
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".html":
            return Response(dress(text, nonce), media_type="text/html", headers=headers(nonce))
        return Response(text, media_type="application/json", headers=headers(nonce))

    @app.exception_handler(HTTPException)
    def refuse(request: Request, error: HTTPException) -> Response:
        nonce = secrets.token_urlsafe(16)
        if error.status_code == 401 and "text/html" in request.headers.get("accept", ""):
            login = f"{BASE}/api/v2/auth/login?{urlencode({'next': request.url.path})}"
            return RedirectResponse(login, headers=headers(nonce))
        return PlainTextResponse(str(error.detail), error.status_code, headers(nonce))

    return app


class Page:
    """The application, made at its first request: every process of Airflow loads plugins, one of them serves."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if self._app is None:
            self._app = application()
        await self._app(scope, receive, send)


class RecprunePlugin(AirflowPlugin):
    """What Airflow takes up."""

    name = "recprune"
    fastapi_apps = [{"app": Page(), "url_prefix": PREFIX, "name": "recprune"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "recprune",
            "href": f"{BASE}{PREFIX}/index.html",
            "destination": "nav",
            "url_route": "recprune",
            "nav_top_level": True,
            "icon": ICON.format(ink="%23333"),
            "icon_dark_mode": ICON.format(ink="%23ddd"),
        }
    ]
