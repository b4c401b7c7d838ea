"""The page in a real browser, over the real hub and server: what is shown, what keys do, and what happens when
things fail. The daemon is :mod:`synthetic_daemon`, which obeys the page's commands."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from synthetic_daemon import PLANS, SyntheticDaemon

from scancontrol.daemon.drift_follower import DriftSnapshot
from scancontrol.daemon.page.hub import LiveHub, PartialView, RestorationView
from scancontrol.daemon.page.messages import Abort, EmergencyBlank, LookAt, Notice, Pause, Record, Resume, Start
from scancontrol.daemon.page.outbox import Outbox, Outgoing
from scancontrol.daemon.page.server import LiveServer
from scancontrol.restoration import Look, Provenance

pytest.importorskip("selenium")
from chromium import By, Page, needs_chromium
from selenium.webdriver.common.keys import Keys

pytestmark = [pytest.mark.slow, needs_chromium]


def test_one_key_shows_the_partial_scan_beside_its_restoration(page: Page, daemon: SyntheticDaemon) -> None:
    page.start()
    assert daemon.taken == [Start(plan=PLANS[0], number=0)]
    page.until(lambda: page.text("phase") == "scanning", "scanning")
    page.until(lambda: page.text("beam-text") == "beam on", "the lamp says so")

    def unmeasured() -> float:
        return float((page.pixels("left-canvas") == (19, 31, 50)).all(axis=2).mean())

    page.until(lambda: 0.3 < unmeasured() < 0.99, "a sparse spiral on the colour of nothing")
    right = page.pixels("right-canvas")
    assert (right.max(axis=2) == right.min(axis=2)).mean() > 0.7  # the restoration is grey
    assert right.std() > 10


def test_the_token_leaves_the_address_bar_and_survives_a_reload(page: Page, daemon: SyntheticDaemon) -> None:
    page.until(lambda: page.enabled("go"), "connected")
    assert "token" not in page.driver.current_url
    page.driver.refresh()
    page.until(lambda: page.enabled("go"), "connected again")
    assert page.driver.get_cookies() == []


def test_the_dose_block_says_what_the_daemon_says(page: Page, daemon: SyntheticDaemon) -> None:
    page.start()
    fraction = len(daemon.path) / daemon.side**2
    saved = f"{float(f'{100 * (1 - fraction):.3g}'):g} %"
    page.until(
        lambda: page.text("dose-saved") == saved and page.text("recording").endswith(".h5"), "its status is told"
    )
    assert float(page.text("dose-frame").replace("\u2009", "")) == pytest.approx(6241.5 * 0.64 * fraction, rel=0.01)
    assert page.text("cov-nominal") == "1/20"
    assert page.text("lost") == "0 · 0"


def test_keys_pause_go_on_record_abort_and_blank(page: Page, daemon: SyntheticDaemon) -> None:
    page.start()
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


def test_keys_look_at_the_newest_frame_alone_and_without_a_lattice(page: Page, daemon: SyntheticDaemon) -> None:
    page.start()
    pressed = "return document.getElementById('look-alone').ariaPressed"
    for key, alone, lattice in (("k", True, True), ("n", True, False), ("k", False, False), ("n", False, True)):
        asked, told = LookAt(look=Look(alone=alone, lattice=lattice)), str(alone).lower()
        page.press(key)
        page.until(lambda asked=asked: daemon.taken[-1] == asked, key)
        page.until(lambda told=told: page.driver.execute_script(pressed) == told, "the page says so")


def test_the_drift_is_shown_as_a_trace_with_its_rate_once_it_is_measured(page: Page, daemon: SyntheticDaemon) -> None:
    page.start()
    assert not page.shown("drift-row")
    places = tuple((0.6 * n, -0.8 * n) for n in range(9))
    followed = {"compensated": True, "shift_px": (3.0, -4.0), "bend_px": (0.6, -0.8)}
    daemon.drift = DriftSnapshot(trace_px=places, rate_px=(0.6, -0.8), **followed)
    page.until(lambda: page.text("drift") == "1.00 px a frame, followed by 5.0 px, bent by 1.0 px", "rate and shift")
    points = page.driver.execute_script("return document.getElementById('drift-line').getAttribute('points')").split()
    assert len(points) == 9
    x, y = (np.array([float(point.split(",")[axis]) for point in points]) for axis in (0, 1))
    assert (np.diff(x) < 0).all()
    assert (np.diff(y) > 0).all()
    assert 0 <= min(x.min(), y.min()) < max(x.max(), y.max()) <= 32


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
    page.start()
    page.press("?")
    page.until(lambda: page.shown("help"), "help")
    page.press("b")
    page.until(lambda: EmergencyBlank() in daemon.taken, "the blank arrived")
    page.press(Keys.ESCAPE)  # closes the help and aborts nothing
    page.until(lambda: not page.shown("help"), "help closed")
    assert Abort() not in daemon.taken


def test_number_keys_switch_the_right_picture(still: Page) -> None:
    page = still
    pictures: dict[str, np.ndarray[Any, Any]] = {}
    for key, view in zip("1234", ("restoration", "interval", "difference", "truth"), strict=True):
        page.press(key)
        selector = f"[data-view='{view}'][aria-selected='true']"
        page.until(lambda selector=selector: page.driver.find_elements(By.CSS_SELECTOR, selector), view)
        before = list(pictures.values())[-1:]

        def drawn(before: list[np.ndarray[Any, Any]] = before) -> bool:  # which is after it is chosen
            return not any(np.array_equal(page.pixels("right-canvas"), picture) for picture in before)

        page.until(drawn, f"{view} is drawn")
        pictures[view] = page.pixels("right-canvas").astype(int)
    saturation = {view: np.ptp(picture, axis=2).mean() for view, picture in pictures.items()}
    assert saturation["interval"] > 40  # viridis
    assert saturation["difference"] > 5  # diverging
    assert max(saturation["restoration"], saturation["truth"]) < 5  # grey
    assert np.abs(pictures["restoration"] - pictures["truth"]).mean() > 3


def test_the_overlay_marks_measured_pixels_and_lock_holds_the_contrast(still: Page) -> None:
    page = still
    plain = page.pixels("right-canvas").astype(int)
    page.press("o")
    page.until(lambda: page.driver.find_elements(By.CSS_SELECTOR, "#overlay[aria-pressed='true']"), "overlay on")

    def marked() -> float:
        return float((np.abs(page.pixels("right-canvas").astype(int) - plain).max(axis=2) > 10).mean())

    page.until(lambda: marked() > 0.01, "marked")
    assert marked() < 0.4
    before = page.text("clip")
    page.press("]")
    page.until(lambda: page.text("clip") != before, "more is clipped")
    page.press("l")
    page.until(lambda: page.text("clip") == "held", "locked")


def test_a_dead_restorer_is_said_and_the_partial_scan_goes_on_alone(page: Page, daemon: SyntheticDaemon) -> None:
    page.start()
    daemon.restorer_state, daemon.restarts = "restarting", 1
    page.until(lambda: "The restorer has stopped" in page.text("right-message"), "the page says so")
    page.until(lambda: page.shown("right-message"), "where it is seen")
    page.until(
        lambda: np.ptp(page.pixels("right-canvas")[20:-20, 20:-20].reshape(-1, 3), axis=0).max() == 0,
        "no old picture stays",
    )
    frame = page.text("left-caption")
    page.until(lambda: page.text("left-caption") != frame, "the partial scan goes on")
    page.until(lambda: "1 restart" in page.text("restorer-state"), "how often is told")
    daemon.restorer_state = "ready"
    page.until(lambda: not page.shown("right-message"), "the restoration is back")


def test_an_observer_sees_everything_and_can_only_blank(
    browser: Any, server: LiveServer, daemon: SyntheticDaemon
) -> None:
    page = Page(browser).open(server.observer_url)
    page.until(lambda: page.shown("role"), "the page says that it is an observer's")
    page.until(lambda: not page.shown("acquisition"), "and has none of the operator's buttons")
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
    page.start()
    url = urlsplit(first.url)
    first.stop()
    page.until(lambda: "lost" in page.text("banner"), "the page says so")
    page.until(lambda: not page.enabled("blank"), "nothing can be asked of it")
    with LiveServer(hub, port=int(url.port or 0), token=url.fragment.removeprefix("token=")):
        page.until(lambda: not page.shown("banner"), "connected again")
        frame = page.text("left-caption")
        page.until(lambda: page.text("left-caption") != frame, "pictures go on")
        browser.get("about:blank")
    browser.get_log("browser")


def test_a_browser_that_hangs_delays_nobody_and_then_shows_the_newest(page: Page, daemon: SyntheticDaemon) -> None:
    page.start()
    before = daemon.frame
    page.driver.execute_script("const end = performance.now() + 1500; while (performance.now() < end);")
    after = daemon.frame
    assert after > before, "the scan went on meanwhile"
    page.until(lambda: int(page.text("left-caption").split()[1]) > after, "the newest frame, not the backlog")


def test_pictures_that_come_in_another_order_than_they_were_made_leave_room_for_the_next(
    page: Page, hub: LiveHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox: list[Outbox] = []
    idle, choose = [0], Outbox.next

    def choose_and_note(self: Outbox, hub: LiveHub, now_s: float) -> Outgoing | None:
        outbox[:] = [self]
        found = choose(self, hub, now_s)
        idle[0] = 0 if found is not None else idle[0] + 1
        return found

    def publish(frame: int) -> None:
        image = np.full((8, 8), frame, np.float32)
        hub.publish_partial(PartialView(1, frame, image, np.ones((8, 8), np.uint8), True, 64, "path"))
        if frame:  # sent before the samples: none of its kind was sent so late
            made_by = Provenance(method="none", face="classical")
            hub.publish_restoration(RestorationView(1, frame, image, None, made_by, 1.0))

    monkeypatch.setattr(Outbox, "next", choose_and_note)
    for frame in range(4):  # two pictures are drawn at once
        page.driver.execute_script(
            "window.held = []; window.framed ??= window.requestAnimationFrame;"
            "window.requestAnimationFrame = (callback) => held.push(callback);"
        )
        publish(frame)
        page.until(
            lambda frame=frame: outbox and outbox[0].images_in_flight == min(2, 1 + frame) and idle[0] > 2, "sent"
        )
        page.driver.execute_script(
            "window.requestAnimationFrame = framed; for (const callback of held) framed(callback);"
        )
        page.until(lambda frame=frame: page.text("left-caption").startswith(f"frame {frame + 1} "), "drawn")
        page.until(lambda: outbox[0].images_in_flight == 0, "and all of them acknowledged")


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


def test_abort_is_there_in_every_phase_while_an_order_stands(page: Page, daemon: SyntheticDaemon) -> None:
    page.start()
    for phase in ("arming", "paused", "aborting"):
        daemon.phase = phase
        page.until(lambda phase=phase: page.text("phase") == phase, phase)
        page.until(lambda: page.enabled("abort"), f"abort while {phase}")


def test_what_is_caught_up_with_has_a_name_and_start_is_free(page: Page, daemon: SyntheticDaemon) -> None:
    page.start()
    page.press(Keys.ESCAPE)
    daemon.catching_up = 7
    page.until(lambda: page.text("phase") == "ended · aborted · restoring 7", "the state is named")
    page.until(lambda: "start again when ready" in page.text("why"), "why it ended, and what to do, in one sentence")
    page.until(lambda: page.enabled("go"), "start is free")


def test_the_help_names_every_key_that_works(page: Page) -> None:
    keys = page.module("controls", "return m.Controls.toString()")
    named = page.driver.execute_script("return [...document.querySelectorAll('#help kbd')].map((k) => k.textContent)")
    assert {"Space", "Esc", "B", "R", "1", "4", "O", "F", "M", "S", "[", "]", "L", ",", ".", "+", "−", "0", "?"} <= set(
        named
    )
    for key in ("Escape", "b:", "r:", "o:", "l:", "'['", "']'", "'+'", "'-'", "'?'"):
        assert key in keys, json.dumps(key)


def test_a_long_arming_says_what_is_being_made(page: Page, daemon: SyntheticDaemon) -> None:
    page.until(lambda: page.enabled("go"), "ready")
    daemon.orders.start(daemon.book.find(PLANS[0]), None)
    daemon.orders.take()
    daemon.arming = "a recording of 1000000 frames: 55 GB for the samples of all detectors"
    page.until(lambda: page.text("phase") == "arming", "arming")
    page.until(lambda: "1000000 frames: 55 GB" in page.text("why"), "and what with")
    daemon.arming = None


def test_nothing_is_fetched_from_anywhere_else(page: Page, server: LiveServer, daemon: SyntheticDaemon) -> None:
    page.start()
    names = page.driver.execute_script("return performance.getEntriesByType('resource').map((e) => e.name)")
    own = server.url.partition("#")[0]
    assert names
    assert all(name.startswith(own) for name in names)
