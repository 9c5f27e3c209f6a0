"""The marketplace's page in a real browser, as a person uses it, and under attack.

Playwright drives the Chromium that is installed. Everything that a page asks of another host, every
dialog and every script that runs is noted; a control shows that the attacks work where nothing
stops them.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from evidence._market_packages import ATTACK

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
_PHONE_PIXELS = 375
_TIMEOUT_MS = 180_000


@dataclass(frozen=True)
class Shown:
    """What the browser did: whether each step came out right, and what the attacks achieved."""

    steps: dict[str, bool]
    scripts_run: int
    dialogs: int
    outside_requests: int
    control_works: bool

    @property
    def is_right(self) -> bool:
        """All steps right, no attack had an effect, and the control says that it could have."""
        effects = self.scripts_run + self.dialogs + self.outside_requests
        return all(self.steps.values()) and effects == 0 and self.control_works


def browser_program() -> str | None:
    """An installed Chromium, if playwright can drive it."""
    if find_spec("playwright") is None:
        return None
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def use_marketplace(url: str, pictures: Path) -> Shown:
    """Search, read, compare, download, and look at a hostile package.

    The marketplace has to list `support-routing`, `invoice-totals` and `hostile`. Pictures of the
    pages are left in a folder.

    Raises:
        RuntimeError: there is no browser to drive.
    """
    program = browser_program()
    if program is None:
        raise RuntimeError("needs playwright and an installed Chromium")
    from playwright.sync_api import sync_playwright

    pictures.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(_FLAGS))
        try:
            context = browser.new_context(viewport={"width": 1160, "height": 900})
            context.set_default_timeout(_TIMEOUT_MS)
            page = context.new_page()
            seen = _Seen(url)
            page.on("dialog", seen.on_dialog)
            page.on("request", seen.on_request)
            steps = _steps(page, url, pictures)
            steps |= _hostile(page, url, pictures, seen)
            control = context.new_page()
            control.set_content(f'<title>before</title><p title="{ATTACK}">')
            control.wait_for_timeout(500)
            works = control.title() == "owned"
        finally:
            browser.close()
    return Shown(steps, seen.scripts_run, seen.dialogs, seen.outside, works)


class _Seen:
    """Counts what must not happen."""

    def __init__(self, url: str) -> None:
        self._host = urlsplit(url).netloc
        self.dialogs = self.outside = self.scripts_run = 0

    def on_dialog(self, dialog: Any) -> None:
        self.dialogs += 1
        dialog.dismiss()

    def on_request(self, request: Any) -> None:
        self.outside += urlsplit(request.url).netloc != self._host


def _steps(page: Any, url: str, pictures: Path) -> dict[str, bool]:
    page.goto(url)
    page.get_by_label("What should it do?").fill("which team handles a customer's message")
    page.get_by_role("button", name="Search").click()
    first = page.locator(".card h2 a").first.inner_text()
    steps = {"search": first == "support-routing"}
    page.goto(url)
    page.screenshot(path=str(pictures / "marketplace-browse.png"))
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=str(pictures / "marketplace-browse-dark.png"))
    page.emulate_media(color_scheme="light")
    steps["labelled"] = bool(
        page.evaluate(
            "[...document.querySelectorAll('input,select')].every(e => e.labels.length > 0) "
            "&& document.documentElement.lang === 'en' "
            "&& document.querySelectorAll('h1').length === 1"
        )
    )
    page.get_by_role("link", name="support-routing").click()
    skill = page.locator(".skill").inner_text()
    steps["read_skill"] = "Names the team" in skill and "license:" not in skill
    page.screenshot(path=str(pictures / "marketplace-package.png"), full_page=True)
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download .tgsp").click()
    saved = pictures / "downloaded.tgsp"
    waiting.value.save_as(str(saved))
    stated = page.locator(".digest", has_text="sha256:").inner_text().removeprefix("sha256:")
    steps["download"] = hashlib.sha256(saved.read_bytes()).hexdigest() == stated
    saved.unlink()
    page.goto(url)
    for name in ("support-routing", "invoice-totals"):
        page.get_by_label(f"Compare {name}").check()
    page.get_by_role("button", name="Compare chosen").click()
    heads = page.locator(".compare thead th a").all_inner_texts()
    steps["compare"] = sorted(heads) == ["invoice-totals", "support-routing"]
    page.screenshot(path=str(pictures / "marketplace-compare.png"))
    page.set_viewport_size({"width": _PHONE_PIXELS, "height": 800})
    narrow = True
    for path in ("", "packages/support-routing", "packages/hostile", "creators/ada"):
        page.goto(f"{url}/{path}")
        width = int(page.evaluate("document.documentElement.scrollWidth"))
        if width > _PHONE_PIXELS:
            print(f"            /{path} is {width} pixels wide on a phone")
            narrow = False
        if path.endswith("support-routing"):
            page.screenshot(path=str(pictures / "marketplace-phone.png"))
    steps["fits_a_phone"] = narrow
    page.set_viewport_size({"width": 1160, "height": 900})
    return steps


def _hostile(page: Any, url: str, pictures: Path, seen: _Seen) -> dict[str, bool]:
    is_text = True
    for path in ("", "packages/hostile", "compare?item=hostile&item=support-routing"):
        page.goto(f"{url}/{path}")
        page.wait_for_timeout(500)
        seen.scripts_run += page.title() == "owned"
        is_text = is_text and page.locator("script, iframe, img, svg, style").count() == 0
        is_text = is_text and page.url.startswith(url)
    page.goto(f"{url}/packages/hostile")
    links = page.locator(".skill a").all()
    for link in links:
        target = link.get_attribute("href") or ""
        is_text = is_text and urlsplit(target).scheme in ("", "https")
    is_text = is_text and "<script>" in page.locator(".skill").inner_text()
    page.screenshot(path=str(pictures / "marketplace-hostile.png"))
    return {"hostile_is_text": is_text}
