"""A Chromium for the browser tests: the machine's own, else an installed one.

ensure_chromium() gives its path, or raises NoChromium in words: without a browser these tests fail.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLAYWRIGHTS_OWN = (
    "from playwright.sync_api import sync_playwright\n"
    "with sync_playwright() as playwright:\n"
    "    print(playwright.chromium.executable_path)\n"
)
#: Seconds; a browser with its libraries is some 300 MB.
PATIENCE = 900


class NoChromium(RuntimeError):  # noqa: N818 - a sentence, not an error of the code
    """There is no browser and none could be installed; says what was tried."""


@cache
def ensure_chromium() -> str:
    """The path of a Chromium or Chrome. Test processes that ask at once wait for one installation."""
    # In .venv, where no stranger can have put a link of that name.
    with (Path(sys.prefix) / "arcweb-chromium.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if found := find():
            return found
        tried = [_install(command) for command in _installers()]
        if found := find():
            return found
    raise NoChromium(
        "The browser tests need Chromium or Chrome, and none could be installed. Install one, or name yours: "
        f"CHROMIUM=/path/to/chrome make test. What was tried:\n{chr(10).join(tried)}"
    )


def find() -> str | None:
    """The setting CHROMIUM, else a browser on PATH, else the one that Playwright installed before."""
    if named := os.environ.get("CHROMIUM"):
        if not os.access(named, os.X_OK):
            raise NoChromium(f"CHROMIUM is {named}, which is no program that can be run.")
        return named
    for name in NAMES:
        if path := shutil.which(name):
            return path
    own = _run([sys.executable, "-c", PLAYWRIGHTS_OWN]).stdout.strip()
    return own if own and Path(own).exists() else None


def _installers() -> list[list[list[str]]]:
    playwright = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    if os.getuid() == 0 and shutil.which("apt-get"):
        return [
            [["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]],
            playwright,
        ]
    return [playwright]


def _install(commands: list[list[str]]) -> str:
    """Runs the commands unless there is a browser by now; gives a line that says how they went."""
    if find():
        return ""
    for command in commands:
        done = _run(command)
        if done.returncode != 0:
            return f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-500:]}"
    return f"{' '.join(commands[-1])}: installed, but no browser was found afterwards"


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE)
