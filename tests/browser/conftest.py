"""A real browser for the report's pages: nothing may reach for the network or fail without anybody noticing."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    # WebGL2 without a graphics card, and the same one everywhere.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)
LOCAL = ("file:", "data:", "blob:")
TIMEOUT_MS = 15_000


def without_browser(reason: str) -> None:
    """Skip, or fail where a browser is promised."""
    if os.environ.get("SEQHDR_NEED_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def launch() -> Iterator[Callable[..., Browser]]:
    """``launch(*more_arguments)``: a headless Chromium, the same one for the same arguments."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        without_browser("no Chromium here: apt install chromium")
    if importlib.util.find_spec("playwright") is None:
        without_browser("no playwright here: pip install playwright")
    opened: dict[tuple[str, ...], Browser] = {}
    with importlib.import_module("playwright.sync_api").sync_playwright() as playwright:

        def browser_with(*more: str) -> Browser:
            if more not in opened:
                opened[more] = playwright.chromium.launch(executable_path=path, headless=True, args=[*ARGUMENTS, *more])
            return opened[more]

        yield browser_with
        for browser in opened.values():
            browser.close()


@pytest.fixture
def troubles() -> list[str]:
    """What went wrong in the pages of a test so far; a test that wants trouble empties it."""
    return []


@pytest.fixture
def new_page(launch: Callable[..., Browser], troubles: list[str]) -> Iterator[Callable[..., Page]]:
    """``new_page(*Chromium's arguments, **options of Playwright's new_context)``.

    Afterwards no page may have had any trouble.
    """
    contexts = []

    def watched(*arguments: str, **options: Any) -> Page:
        if not options.get("no_viewport"):
            options = {"viewport": {"width": 1200, "height": 900}} | options
        context = launch(*arguments).new_context(offline=True, **options)
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        page.on("console", lambda said: troubles.append(f"console: {said.text}") if said.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(f"page error: {error}"))
        page.on("request", lambda asked: None if asked.url.startswith(LOCAL) else troubles.append(asked.url))
        return page

    yield watched
    for context in contexts:
        context.close()
    if troubles:
        pytest.fail("\n".join(troubles))


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """A page of 1200x900 at one device pixel per CSS pixel."""
    return new_page()
