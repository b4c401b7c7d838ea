"""The page at every size of window, in a real browser: nothing cut, nothing run over, Blank always whole."""

from __future__ import annotations

import pytest
from synthetic_daemon import SyntheticDaemon

pytest.importorskip("selenium")
from chromium import By, Page, needs_chromium
from selenium.webdriver.common.keys import Keys

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
        page.until(lambda: not page.enabled("go"), "no Start before the blank is confirmed")
        page.until(lambda: page.enabled("blank"), "and Blank again")
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


EVERY_SIZE = [(360, 740), (700, 900), (1024, 700), (1280, 800), (1920, 1080), (3840, 2160)]


@pytest.mark.parametrize("size", EVERY_SIZE)
def test_nothing_runs_over_sideways_and_no_word_is_cut_in_any_panel_of_any_size(
    page: Page, daemon: SyntheticDaemon, size: tuple[int, int]
) -> None:
    daemon.channels = ("HAADF", "BF")
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False},
    )
    try:
        page.start()
        page.press("x")
        for side in ("figures", "plan", "about"):
            page.driver.execute_script("document.getElementById(`tab-${arguments[0]}`).click()", side)
            page.until(lambda side=side: page.shown(f"side-{side}"), side)
            over, cut = page.driver.execute_script(
                "const name = (e) => e.id || e.className || e.textContent.slice(0, 20);"
                "const wide = document.documentElement.clientWidth;"
                "const all = [...document.querySelectorAll('body *')].filter((e) => e.offsetParent);"
                "const over = all.filter((e) => e.getBoundingClientRect().right > wide + 1).map(name);"
                "const words = all.filter((e) => e.matches('button, dt, label, h2, h3, .phase, .tabs'));"
                "return [over, words.filter((e) => e.scrollWidth > e.clientWidth + 1).map(name)]"
            )
            assert over == []
            assert cut == []
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


WORKED = {"button", "combobox", "textbox", "slider", "checkbox", "tab", "spinbutton", "image"}


def test_whatever_can_be_worked_or_looked_at_has_a_name_for_who_cannot_see_it(
    page: Page, daemon: SyntheticDaemon
) -> None:
    daemon.channels = ("HAADF", "BF")
    page.start()
    names: dict[str, list[str]] = {}
    for side in ("figures", "plan", "about"):
        page.driver.execute_script("document.getElementById(`tab-${arguments[0]}`).click()", side)
        page.until(lambda side=side: page.shown(f"side-{side}"), side)
        tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        for node in tree:
            role = node.get("role", {}).get("value")
            if role in WORKED and not node.get("ignored"):
                names.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    assert all(name.strip() for found in names.values() for name in found), names
    assert any(name.startswith("Blank beam") for name in names["button"])
    assert {"Partial scan", "Restoration"} <= set(names["image"])


def test_by_tab_alone_one_comes_to_everything_once_and_to_blank(page: Page, daemon: SyntheticDaemon) -> None:
    page.start()
    page.driver.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    met: list[str] = []
    for _ in range(80):
        page.press(Keys.TAB)
        here = page.driver.execute_script(
            "const e = document.activeElement; if (e === document.body) return '';"
            "const b = e.getBoundingClientRect(); const seen = b.width > 0 && b.bottom > 0 && b.top < innerHeight;"
            "const ringed = getComputedStyle(e).outlineStyle !== 'none';"
            "return [e.id || e.dataset.tool || e.dataset.view || e.dataset.side || e.tagName, seen && ringed]"
        )
        if not here or here[0] in met:
            break
        assert here[1], f"{here[0]} has the keyboard and cannot be seen to"
        met.append(here[0])
    assert {"go", "abort", "blank", "help-open", "left-canvas", "right-canvas", "line", "region", "lock", "map"} <= set(
        met
    )
    assert {"restoration", "tab-figures"} <= set(met), "of a row of tabs the chosen one"
    assert not {"interval", "fourier", "tab-plan"} & set(met), "the others are reached by arrows"
    page.driver.execute_script("document.querySelector('[data-view=restoration]').focus()")
    page.press(Keys.ARROW_RIGHT)
    page.until(
        lambda: page.driver.find_elements(By.CSS_SELECTOR, "[data-view=interval][aria-selected=true]"), "by arrow"
    )
