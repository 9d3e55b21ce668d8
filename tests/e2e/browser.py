"""A real browser, Chromium without a window, driven over its debugging protocol."""

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from websockets.sync.client import connect

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
_PATIENCE = 60


class GoneError(AssertionError):
    """The page that was asked went away while it answered."""


class Browser:
    """One window; wide as a desk unless told otherwise."""

    def __init__(self, profile: Path) -> None:
        """Name its profile; it starts with the block."""
        self.profile, self.told = profile, profile / "DevToolsActivePort"
        self._ids, self._session = itertools.count(1), ""

    def __enter__(self) -> "Browser":
        """Start it."""
        quiet = ("no-first-run", "disable-gpu", "disable-sync", "disable-background-networking", "hide-scrollbars")
        options = [f"--{name}" for name in ("headless", "no-sandbox", *quiet, "remote-debugging-port=0")]
        command = [CHROMIUM, *options, "--no-proxy-server", f"--user-data-dir={self.profile}", "about:blank"]
        with ExitStack() as starting:
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )
            starting.callback(process.wait, _PATIENCE)
            starting.callback(os.killpg, process.pid, signal.SIGTERM)
            self.until(lambda: self.told.exists() and len(self.told.read_text().split()) == 2)
            port, path = self.told.read_text().split()
            address = f"ws://127.0.0.1:{port}{path}"
            self._socket = starting.enter_context(connect(address, max_size=None, proxy=None))
            target = self.call("Target.getTargets")["targetInfos"][0]["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            self.call("Page.enable")
            self._running = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it and all that it started."""
        self._running.close()

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol and return its result."""
        asked = {"id": next(self._ids), "method": method, "params": parameters}
        self._socket.send(json.dumps(asked | ({"sessionId": self._session} if self._session else {})))
        while True:
            answer = json.loads(self._socket.recv(timeout=_PATIENCE))
            if answer.get("id") == asked["id"]:
                said = answer.get("error", {}).get("message", "")
                if "navigated or closed" in said:
                    raise GoneError(f"{method}: {said}")
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def open(self, url: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Evaluate an expression in the page and return its value; None where it fails, or the page goes away."""
        try:
            return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")
        except GoneError:
            return None

    def wait(self, script: str) -> Any:
        """Wait until an expression is true, and return it."""
        found: list[Any] = []

        def is_true() -> bool:
            found.append(self.run(script))
            return bool(found[-1])

        self.until(is_true, lambda: f"{script} at {self.run('location.href')}")
        return found[-1]

    def type(self, field: str, text: str) -> None:
        """Type into the field that a selector finds."""
        self.run(f"document.querySelector({json.dumps(field)}).focus()")
        self.call("Input.insertText", text=text)

    def press_enter(self) -> None:
        """Press Enter where the focus is."""
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        self.call("Input.dispatchKeyEvent", type="keyDown", text="\r", **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def size(self, width: int, height: int) -> None:
        """Give the window a size."""
        phone = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **phone)

    def picture(self, path: Path) -> None:
        """Take a picture of the window."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def until(self, true: Callable[[], Any], told: Callable[[], str] = str) -> None:
        """Wait until a condition holds."""
        deadline = time.monotonic() + _PATIENCE
        while not true():
            assert time.monotonic() < deadline, f"not within {_PATIENCE} s: {told()}"
            time.sleep(0.1)
