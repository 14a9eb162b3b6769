"""Is an open page fit to be shown: both themes, a phone, nothing sideways, nothing that axe minds."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Page

from tests.browser.conftest import RESULTS, still

#: Each theme and each layout once.
LOOKS = (("light", 400), ("dark", 1280))


def listen(page: Page, status: int = 200) -> list[str]:
    """The errors of scripts and of the console, as they come; that of the page's own status is none."""
    faults: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error" and f"status of {status} " not in message.text:
            faults.append(f"console: {message.text}")

    page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
    page.on("console", hear)
    return faults


def faults_of(page: Page, name: str) -> list[str]:
    """What is wrong with the page's looks; leaves a picture of each."""
    RESULTS.mkdir(exist_ok=True)
    faults: list[str] = []
    for theme, width in LOOKS:
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 900})
        still(page)
        if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            faults.append(f"scrolls sideways at {width} px")
        page.screenshot(path=RESULTS / f"page-{name}-{theme}-{width}.png", full_page=True)
        for violation in Axe().run(page).response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                where = "; ".join(str(node["target"]) for node in violation["nodes"][:3])
                faults.append(f"axe {theme} {width}: {violation['id']} ({violation['help']}) at {where}")
    return faults
