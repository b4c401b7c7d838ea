"""The page at every size of window, in a real browser: nothing cut, nothing run over, Blank always whole."""

from __future__ import annotations

import pytest
from synthetic_daemon import SyntheticDaemon

pytest.importorskip("selenium")
from chromium import By, Page, needs_chromium

pytestmark = [pytest.mark.slow, needs_chromium]

SIZES = ((1280, 800), (1920, 1080))


@pytest.mark.parametrize("size", SIZES)
def test_the_layout_fits_the_screen(page: Page, daemon: SyntheticDaemon, size: tuple[int, int]) -> None:
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False},
    )
    try:
        page.start()
        outside, cut, side = page.driver.execute_script(
            "const all = [...document.querySelectorAll('body *')];"
            "const name = (e) => e.id || e.className || e.tagName;"
            "const out = all.filter((e) => { if (!e.offsetParent) return false; const b = e.getBoundingClientRect();"
            "  return b.right > innerWidth + 1 || b.bottom > innerHeight + 1; }).map(name);"
            "const words = [...document.querySelectorAll('dd, button, output, h2, h3, .phase, .caption, .line')];"
            "const cut = words.filter((e) => e.offsetParent && e.scrollWidth > e.clientWidth + 1);"
            "const f = document.querySelector('.figures');"
            "return [out, cut.map(name), [f.scrollHeight, f.clientHeight]]"
        )
        assert outside == []
        assert cut == []
        assert side[0] <= side[1]
        left, right = (page.driver.find_element(By.ID, name).size for name in ("left-canvas", "right-canvas"))
        assert left == right
        assert min(left["width"], left["height"]) > 0.35 * size[0]
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("size", [(360, 740), (700, 900), (1024, 700), (1280, 800), (1920, 1080), (3840, 2160)])
def test_blank_state_and_lamp_are_whole_at_every_size_and_stay_while_the_page_scrolls(
    page: Page, daemon: SyntheticDaemon, size: tuple[int, int]
) -> None:
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False},
    )
    try:
        page.until(lambda: page.enabled("go"), "ready")
        daemon.confirms = False
        page.press("b")
        page.until(lambda: page.text("beam-text") == "blank asked for, not confirmed", "the longest words there are")
        for scrolled in (0, 100_000):
            cut = page.driver.execute_script(
                "scrollTo(0, arguments[0]);"
                "return ['phase', 'beam', 'blank'].filter((id) => {"
                "  const e = document.getElementById(id), b = e.getBoundingClientRect();"
                "  const seen = document.elementFromPoint(b.x + b.width / 2, b.y + b.height / 2);"
                "  return b.left < 0 || b.top < 0 || b.right > innerWidth || b.bottom > innerHeight"
                "    || e.scrollWidth > e.clientWidth + 1 || !e.contains(seen); })",
                scrolled,
            )
            assert cut == []
        assert page.driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert not page.enabled("go"), "no Start before the blank is confirmed"
        assert page.enabled("blank")
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
