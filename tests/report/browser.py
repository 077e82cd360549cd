"""Chromium without a window, asked in the DevTools protocol over a pair of pipes.

https://chromedevtools.github.io/devtools-protocol/: JSON, each message ended by a zero byte, on the
descriptors 3 and 4 of ``--remote-debugging-pipe``. There is no port that others could talk to.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
    *("--disable-dev-shm-usage", "--disable-extensions", "--remote-debugging-pipe"),
)
TIMEOUT_S = 60.0


class Browser:
    """A running Chromium with one page."""

    def __init__(self, to: int, answers: int) -> None:
        """Open the page.

        :param to: descriptor that the browser reads
        :param answers: descriptor that it writes to
        """
        self._to, self._answers = to, answers
        self._read, self._number = b"", 0
        self.events: list[dict[str, Any]] = []
        self._session: str | None = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a request; events that come before it are kept."""
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            request["sessionId"] = self._session
        os.write(self._to, json.dumps(request).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._number:
                assert "error" not in message, (method, message["error"])
                result: dict[str, Any] = message["result"]
                return result
            self.events.append(message)

    def open(self, page: Path, fragment: str = "", width: int = 1100, height: int = 900) -> float:
        """Show a page; seconds until it was loaded, by the browser's own clock."""
        self.window(width, height)
        self.ask("Page.navigate", url="about:blank")
        self.events.clear()
        self.ask("Page.navigate", url=page.resolve().as_uri() + fragment)
        self.until("Page.loadEventFired")
        ended = "performance.getEntriesByType('navigation')[0].loadEventEnd"
        self.until_true(f"{ended} > 0")
        return float(self.value(ended)) / 1e3

    def window(self, width: int, height: int) -> None:
        """How large the window is, in CSS pixels."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )

    def media(self, kind: str = "screen", scheme: str = "light") -> None:
        """What the page is shown on, and in which colours."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", media=kind, features=features)

    def until(self, method: str) -> dict[str, Any]:
        """Wait for an event."""
        while True:
            for event in self.events:
                if event.get("method") == method:
                    return event
            self.events.append(self._message())

    def value(self, expression: str) -> Any:
        """What a script of the test's own says of the page; the page itself may run none."""
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until_true(self, expression: str, seconds: float = 5.0) -> bool:
        """Whether something comes to hold soon."""
        end = time.monotonic() + seconds
        while not self.value(expression):
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Draw the page, or what the window shows of it."""
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def said(self) -> list[str]:
        """What the browser complained of, and where the page wanted to go."""
        texts = [
            event["params"]["entry"]["text"]
            for event in self.events
            if event.get("method") == "Log.entryAdded"
        ]
        requests = [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        return texts + requests

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            block = os.read(self._answers, 1 << 20)
            assert block, "Chromium has ended"
            self._read += block
        text, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


def _high(descriptor: int) -> int:
    """The same, out of the way of those that the browser reads and writes."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return copy


@contextmanager
def chromium(program: str, profile: Path) -> Iterator[Browser]:
    """A Chromium, until the block ends."""
    there, to = map(_high, os.pipe())
    answers, here = map(_high, os.pipe())
    # its descriptors have fixed numbers; dash knows none of two digits
    script = f'exec "$0" "$@" 3<&{there} 4>&{here}'
    arguments = [*OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(
        ["bash", "-c", script, program, *arguments],
        pass_fds=(there, here),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "HOME": str(profile)},
    ) as process:
        os.close(there)
        os.close(here)
        try:
            browser = Browser(to, answers)
            yield browser
            browser._session = None
            browser.ask("Browser.close")
        finally:
            os.close(to)
            os.close(answers)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
