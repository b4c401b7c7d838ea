"""The page in a real browser, over the real hub and server: what is shown, what keys do, and what happens when
things fail. The daemon is :mod:`synthetic_daemon`, which obeys the page's commands."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import matplotlib as mpl
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from synthetic_daemon import PLANS, SyntheticDaemon

from scancontrol.daemon.page.frames import encode_frame
from scancontrol.daemon.page.hub import LiveHub, PartialView
from scancontrol.daemon.page.messages import Abort, EmergencyBlank, Notice, Pause, Record, Resume, Start
from scancontrol.daemon.page.server import LiveServer

pytest.importorskip("selenium")
from chromium import By, Page, needs_chromium
from selenium.webdriver.common.keys import Keys

pytestmark = [pytest.mark.slow, needs_chromium]

SIZES = ((1280, 800), (1920, 1080))


@pytest.fixture
def hub() -> LiveHub:
    return LiveHub()


@pytest.fixture
def server(hub: LiveHub) -> Iterator[LiveServer]:
    with LiveServer(hub) as running:
        yield running


@pytest.fixture
def daemon(hub: LiveHub) -> Iterator[SyntheticDaemon]:
    with SyntheticDaemon(hub, side=192, pace_s=0.01) as running:
        yield running


@pytest.fixture
def page(browser: Any, server: LiveServer) -> Iterator[Page]:
    browser.get_log("browser")
    tab = Page(browser).open(server.url)
    yield tab
    assert tab.complaints() == []
    browser.get("about:blank")


def start(page: Page) -> None:
    page.until(lambda: page.enabled("go"), "the start button is enabled")
    page.press(" ")
    page.until(lambda: "after its last sample" in page.text("right-caption"), "a restored frame is shown")


def test_one_key_shows_the_partial_scan_beside_its_restoration(page: Page, daemon: SyntheticDaemon) -> None:
    start(page)
    assert daemon.taken == [Start(plan=PLANS[0], number=0)]
    assert page.text("phase") == "scanning"
    assert page.text("beam-text") == "beam on"
    left, right = page.pixels("left-canvas"), page.pixels("right-canvas")
    unmeasured = (left == (19, 31, 50)).all(axis=2).mean()
    assert 0.3 < unmeasured < 0.99  # a sparse spiral on the colour of nothing
    assert (right.max(axis=2) == right.min(axis=2)).mean() > 0.7  # the restoration is grey
    assert right.std() > 10


def test_the_token_leaves_the_address_bar_and_survives_a_reload(page: Page, daemon: SyntheticDaemon) -> None:
    page.until(lambda: page.enabled("go"), "connected")
    assert "token" not in page.driver.current_url
    page.driver.refresh()
    page.until(lambda: page.enabled("go"), "connected again")
    assert page.driver.get_cookies() == []


def test_the_dose_block_says_what_the_daemon_says(page: Page, daemon: SyntheticDaemon) -> None:
    start(page)
    fraction = len(daemon.path) / daemon.side**2
    assert page.text("dose-saved") == f"{float(f'{100 * (1 - fraction):.3g}'):g} %"
    assert float(page.text("dose-frame").replace("\u2009", "")) == pytest.approx(6241.5 * 0.64 * fraction, rel=0.01)
    assert page.text("cov-nominal") == "1/20"
    assert page.text("lost") == "0 · 0"
    assert page.text("recording").endswith(".h5")


def test_keys_pause_go_on_record_abort_and_blank(page: Page, daemon: SyntheticDaemon) -> None:
    start(page)
    for key, phase in ((" ", "paused"), (" ", "scanning"), (Keys.ESCAPE, "ended · aborted")):
        page.press(key)
        page.until(lambda phase=phase: page.text("phase") == phase, phase)
    page.press("r")
    page.until(lambda: page.text("recording") == "nothing", "recording ends")
    page.press("b")
    page.until(lambda: page.text("phase") == "ended · operator blank", "blanked")
    page.until(lambda: page.text("beam-text") == "beam blanked, held", "the lamp says that it is held")
    page.until(lambda: "blanked by the operator" in page.text("log"), "the daemon's answer is in the log")
    assert daemon.taken == [
        Start(plan=PLANS[0], number=0),
        Pause(),
        Resume(number=1),
        Abort(),
        Record(on=False),
        EmergencyBlank(),
    ]


def test_a_click_leaves_no_second_command_behind_space(page: Page, daemon: SyntheticDaemon) -> None:
    page.until(lambda: page.enabled("go"), "ready")
    page.driver.find_element(By.ID, "go").click()
    page.until(lambda: page.text("phase") == "scanning", "started")
    page.press(" ")  # the button still has the focus
    page.until(lambda: page.text("phase") == "paused", "paused")
    page.until(lambda: page.text("go-text") == "Resume", "the button says what it would do")
    assert daemon.taken == [Start(plan=PLANS[0], number=0), Pause()]


def test_the_chosen_plan_is_the_one_that_starts(page: Page, daemon: SyntheticDaemon) -> None:
    page.until(lambda: page.enabled("go"), "ready")
    page.driver.find_element(By.CSS_SELECTOR, f"#plan option[value='{PLANS[2]}']").click()
    page.driver.find_element(By.ID, "go").click()
    page.until(lambda: daemon.taken, "the command arrived")
    assert daemon.taken == [Start(plan=PLANS[2], number=0)]


def test_the_blank_key_works_from_inside_the_help(page: Page, daemon: SyntheticDaemon) -> None:
    start(page)
    page.press("?")
    page.until(lambda: page.shown("help"), "help")
    page.press("b")
    page.until(lambda: EmergencyBlank() in daemon.taken, "the blank arrived")
    page.press(Keys.ESCAPE)  # closes the help and aborts nothing
    page.until(lambda: not page.shown("help"), "help closed")
    assert Abort() not in daemon.taken


def test_number_keys_switch_the_right_picture(page: Page, daemon: SyntheticDaemon) -> None:
    start(page)
    page.press(" ")
    page.until(lambda: page.text("phase") == "paused", "paused")
    pictures = {}
    for key, view in zip("1234", ("restoration", "interval", "difference", "truth"), strict=True):
        page.press(key)
        selector = f"[data-view='{view}'][aria-selected='true']"
        page.until(lambda selector=selector: page.driver.find_elements(By.CSS_SELECTOR, selector), view)
        pictures[view] = page.pixels("right-canvas").astype(int)
    saturation = {view: np.ptp(picture, axis=2).mean() for view, picture in pictures.items()}
    assert saturation["interval"] > 40  # viridis
    assert saturation["difference"] > 5  # diverging
    assert max(saturation["restoration"], saturation["truth"]) < 5  # grey
    assert np.abs(pictures["restoration"] - pictures["truth"]).mean() > 3


def test_the_overlay_marks_measured_pixels_and_lock_holds_the_contrast(page: Page, daemon: SyntheticDaemon) -> None:
    start(page)
    page.press(" ")
    page.until(lambda: page.text("phase") == "paused", "paused")
    plain = page.pixels("right-canvas").astype(int)
    page.press("o")
    page.until(lambda: page.driver.find_elements(By.CSS_SELECTOR, "#overlay[aria-pressed='true']"), "overlay on")
    marked = (np.abs(page.pixels("right-canvas").astype(int) - plain).max(axis=2) > 10).mean()
    assert 0.01 < marked < 0.4
    before = page.text("clip")
    page.press("]")
    page.until(lambda: page.text("clip") != before, "more is clipped")
    page.press("l")
    page.until(lambda: page.text("clip") == "held", "locked")


def test_a_dead_restorer_is_said_and_the_partial_scan_goes_on_alone(page: Page, daemon: SyntheticDaemon) -> None:
    start(page)
    daemon.restorer_state, daemon.restarts = "restarting", 1
    page.until(lambda: "The restorer has stopped" in page.text("right-message"), "the page says so")
    assert page.shown("right-message")
    assert np.ptp(page.pixels("right-canvas")[20:-20, 20:-20].reshape(-1, 3), axis=0).max() == 0  # no old picture stays
    frame = page.text("left-caption")
    page.until(lambda: page.text("left-caption") != frame, "the partial scan goes on")
    assert "1 restart" in page.text("restorer-state")
    daemon.restorer_state = "ready"
    page.until(lambda: not page.shown("right-message"), "the restoration is back")


def test_an_observer_sees_everything_and_can_only_blank(
    browser: Any, server: LiveServer, daemon: SyntheticDaemon
) -> None:
    page = Page(browser).open(server.observer_url)
    page.until(lambda: page.shown("role"), "the page says that it is an observer's")
    assert not page.shown("acquisition")
    page.press(" ")
    page.press("b")
    page.until(lambda: daemon.taken, "the blank arrived")
    assert daemon.taken == [EmergencyBlank()]


def test_a_link_without_its_token_shows_how_to_get_one(
    browser: Any, server: LiveServer, daemon: SyntheticDaemon
) -> None:
    page = Page(browser)
    page.open(server.url.partition("#")[0])
    page.until(lambda: "token" in page.text("banner"), "the page says what is missing")
    assert not page.enabled("go")
    assert not page.enabled("blank")
    browser.get("about:blank")
    browser.get_log("browser")  # the refused handshakes are reported there, rightly


def test_a_lost_daemon_is_said_and_found_again(browser: Any, hub: LiveHub, daemon: SyntheticDaemon) -> None:
    first = LiveServer(hub)
    page = Page(browser).open(first.start())
    start(page)
    url = urlsplit(first.url)
    first.stop()
    page.until(lambda: "lost" in page.text("banner"), "the page says so")
    assert not page.enabled("blank")
    with LiveServer(hub, port=int(url.port or 0), token=url.fragment.removeprefix("token=")):
        page.until(lambda: not page.shown("banner"), "connected again")
        frame = page.text("left-caption")
        page.until(lambda: page.text("left-caption") != frame, "pictures go on")
        browser.get("about:blank")
    browser.get_log("browser")


def test_a_browser_that_hangs_delays_nobody_and_then_shows_the_newest(page: Page, daemon: SyntheticDaemon) -> None:
    start(page)
    before = daemon.frame
    page.driver.execute_script("const end = performance.now() + 1500; while (performance.now() < end);")
    after = daemon.frame
    assert after - before >= 4  # the scan went on meanwhile
    page.until(lambda: int(page.text("left-caption").split()[1]) > after, "the newest frame, not the backlog")


def test_words_from_outside_are_never_markup(
    browser: Any, hub: LiveHub, server: LiveServer, daemon: SyntheticDaemon
) -> None:
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    daemon.plan, daemon.warnings, daemon.recording = evil, (evil,), evil
    page = Page(browser).open(server.url)
    hub.publish_notice(Notice(evil, "error"))
    page.until(lambda: evil in page.text("log") and evil in page.text("warnings"), "shown as text")
    assert browser.title == "scancontrol"
    assert browser.find_elements(By.CSS_SELECTOR, "main img, main script") == []


@pytest.mark.parametrize("size", SIZES)
def test_the_layout_fits_the_screen(page: Page, daemon: SyntheticDaemon, size: tuple[int, int]) -> None:
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False},
    )
    try:
        start(page)
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


def test_one_click_is_one_start_and_the_button_is_grey_before_the_daemon_says_so(
    page: Page, daemon: SyntheticDaemon
) -> None:
    page.until(lambda: page.enabled("go"), "ready")
    clicked = page.driver.execute_script(
        "const go = document.getElementById('go'); go.click(); const grey = go.disabled; go.click(); go.click();"
        "return grey"
    )
    assert clicked
    page.until(lambda: page.text("phase") == "scanning", "scanning")
    assert daemon.taken == [Start(plan=PLANS[0], number=0)]


def test_what_is_caught_up_with_has_a_name_and_start_is_free(page: Page, daemon: SyntheticDaemon) -> None:
    start(page)
    page.press(Keys.ESCAPE)
    daemon.catching_up = 7
    page.until(lambda: page.text("phase") == "ended · aborted · restoring 7", "the state is named")
    assert "start again when ready" in page.text("why"), "why it ended, and what to do, in one sentence"
    assert page.enabled("go")


def test_the_page_decodes_images_to_what_was_published(page: Page) -> None:
    rng = np.random.default_rng(5)
    image, weight = rng.normal(300, 80, (7, 9)).astype(np.float32), (rng.random((7, 9)) < 0.4).astype(np.uint8)
    message = encode_frame("partial", 3, PartialView(1, 2, image, weight, True, 5, "p", 63, 4.5))
    decoded = page.module(
        "frames",
        "const f = m.decodeFrame(Uint8Array.from(atob(v[0]), (c) => c.charCodeAt(0)).buffer);"
        "return [f.seq, f.fov_nm, Array.from(f.planes.image), Array.from(f.planes.weight)]",
        base64.b64encode(message).decode(),
    )
    assert decoded[:2] == [3, 4.5]
    measured = weight.ravel() > 0
    step = (image[weight > 0].max() - image[weight > 0].min()) / 65535
    assert np.abs(np.array(decoded[2]) - image.ravel())[measured].max() < step
    assert (np.array(decoded[3]) > 0).tolist() == measured.tolist()


def test_the_nearest_measured_fill_is_nearest(page: Page) -> None:
    rng = np.random.default_rng(2)
    rows, cols = 37, 53
    weight = rng.random((rows, cols)) < 0.03
    values = np.arange(rows * cols, dtype=float).reshape(rows, cols)  # each pixel's value is its own address
    filled = page.module(
        "images",
        "return Array.from(m.nearestMeasured(Float32Array.from(v[0]), Uint8Array.from(v[1]), v[2], v[3]))",
        values.ravel().tolist(),
        weight.ravel().astype(int).tolist(),
        rows,
        cols,
    )
    seed = np.array(filled, int).reshape(rows, cols)
    y, x = np.mgrid[0:rows, 0:cols]
    distance = np.hypot(seed // cols - y, seed % cols - x)
    exact = distance_transform_edt(~weight)
    assert (distance >= exact - 1e-9).all()
    assert (distance - exact > 1e-9).mean() < 0.002  # the sweeps' rare ties
    assert (distance - exact).max() < 0.5


def test_colours_and_percentiles_agree_with_their_references(page: Page) -> None:
    maps = page.module(
        "colour", "return Object.fromEntries(Object.entries(m.MAPS).map(([k, t]) => [k, Array.from(t)]))"
    )

    def rgb(name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        packed = np.array(maps[name], dtype=np.int64)
        return np.stack([packed & 255, packed >> 8 & 255, packed >> 16 & 255], axis=1)

    reference = np.rint(mpl.colormaps["viridis"](np.arange(256))[:, :3] * 255)
    assert np.abs(rgb("viridis") - reference).max() <= 3
    assert (rgb("grey") == np.arange(256)[:, None]).all()
    middle, ends = rgb("diverging")[126:130].sum(axis=1), rgb("diverging")[[0, -1]].sum(axis=1)
    assert middle.max() < 0.15 * ends.min()
    values = np.random.default_rng(3).gamma(2, 100, 5000)
    low, high = page.module(
        "colour",
        "const f = Float32Array.from(v[0]); const [a, b] = m.extent(f, null);"
        "return m.percentiles(m.histogram(f, null, a, b, 256), 1)",
        values.tolist(),
    )
    step = np.ptp(values) / 256
    assert [low, high] == pytest.approx(np.percentile(values, [1, 99]), abs=step)


@pytest.mark.parametrize(
    ("longest", "length"), [(0.99, 0.5), (1, 1), (1.9, 1), (2, 2), (4.99, 2), (5, 5), (0.3, 0.2), (70_000, 50_000)]
)
def test_scale_bars_are_one_two_or_five(page: Page, longest: float, length: float) -> None:
    assert page.module("colour", "return m.niceLength(v[0])", longest) == pytest.approx(length)


def test_the_help_names_every_key_that_works(page: Page) -> None:
    keys = page.module("controls", "return m.Controls.toString()")
    named = page.driver.execute_script("return [...document.querySelectorAll('#help kbd')].map((k) => k.textContent)")
    assert {"Space", "Esc", "B", "R", "1", "4", "O", "[", "]", "L", "+", "−", "0", "?"} <= set(named)
    for key in ("Escape", "b:", "r:", "o:", "l:", "'['", "']'", "'+'", "'-'", "'?'"):
        assert key in keys, json.dumps(key)


def test_nothing_is_fetched_from_anywhere_else(page: Page, server: LiveServer, daemon: SyntheticDaemon) -> None:
    start(page)
    names = page.driver.execute_script("return performance.getEntriesByType('resource').map((e) => e.name)")
    own = server.url.partition("#")[0]
    assert names
    assert all(name.startswith(own) for name in names)


def test_the_static_files_are_where_the_package_looks() -> None:
    folder = Path(__file__).parents[3] / "scancontrol" / "daemon" / "page" / "static"
    assert max(len(path.read_text().splitlines()) for path in folder.iterdir()) < 300


def test_a_shrunk_partial_scan_keeps_every_sample_at_its_value(page: Page) -> None:
    rng = np.random.default_rng(4)
    rows, cols, factor = 13, 22, 4
    weight = rng.random((rows, cols)) < 0.15
    values = rng.normal(100, 20, (rows, cols))
    shrunk = page.module(
        "images",
        "const s = m.shrink(Float32Array.from(v[0]), Uint8Array.from(v[1]), v[2], v[3], v[4]);"
        "return [s.rows, s.cols, Array.from(s.values), Array.from(s.weight)]",
        values.ravel().tolist(),
        weight.ravel().astype(int).tolist(),
        rows,
        cols,
        factor,
    )
    assert shrunk[:2] == [4, 6]
    means, counts = np.array(shrunk[2]).reshape(4, 6), np.array(shrunk[3]).reshape(4, 6)
    for i, j in np.ndindex(4, 6):
        block = np.s_[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
        assert counts[i, j] == weight[block].sum()
        if counts[i, j]:
            assert means[i, j] == pytest.approx(values[block][weight[block]].mean(), rel=1e-5)


def test_unmeasured_dark_and_saturated_pixels_are_told_apart(page: Page) -> None:
    painted = page.module(
        "images",
        "const p = new Uint32Array(4); const before = {values: Float32Array.of(50, 50, 50, 50), weight: [0, 0, 0, 1]};"
        "m.paintPartial(p, Float32Array.of(0, 0, 99, 0), [0, 1, 1, 0], 0, 100, before, 99); return Array.from(p)",
    )
    unmeasured, dark, saturated, earlier = ((p & 255, p >> 8 & 255, p >> 16 & 255) for p in painted)
    assert unmeasured == (19, 31, 50)
    assert dark == (0, 0, 0)
    assert saturated == (255, 70, 70)
    assert all(u < e < 128 for u, e in zip(unmeasured, earlier, strict=True))  # brighter than nothing, dimmer than now
