"""Plans and words are typed on the page, in a real browser; the daemon's desk, plan book and description answer."""

from __future__ import annotations

import re

import numpy as np
import pytest
from synthetic_daemon import PLANS, SyntheticDaemon

from scancontrol.daemon.page.messages import Abort, EmergencyBlank, ShowChannel, Start

pytest.importorskip("selenium")
from chromium import By, Page, drag, needs_chromium
from selenium.webdriver.common.keys import Keys

pytestmark = [pytest.mark.slow, needs_chromium]


def value(page: Page, id_: str) -> str:
    return str(page.driver.execute_script("return document.getElementById(arguments[0]).value", id_))


def write(page: Page, id_: str, text: str) -> None:
    """Replace what is in a text field, key by key."""
    field = page.driver.find_element(By.ID, id_)
    field.send_keys(Keys.CONTROL + "a" + Keys.NULL + text)


@pytest.fixture
def editor(page: Page, daemon: SyntheticDaemon) -> Page:
    """The page with its plan editor open and a plan checked."""
    page.until(lambda: page.enabled("go"), "connected")
    page.press("e")
    page.until(lambda: page.enabled("plan-start"), "the plan is checked")
    return page


def test_a_plan_is_checked_as_one_types_and_its_cost_stands_beside_the_change(editor: Page) -> None:
    assert editor.text("dose-change") == "", "no change yet"
    write(editor, "plan-dwell_us", "4")
    editor.until(lambda: editor.text("dose-change") == "×2", "twice the dwell is twice the dose")
    assert re.match(r"[\d.]+ [kM]B", editor.text("cost-room")), "what it takes of the disk"
    assert editor.text("time-change").startswith("×1.9"), "the settling of the coils takes as long as before"
    assert editor.enabled("plan-start")


def test_what_may_not_be_is_said_with_its_remedy_at_the_field_that_is_wrong(editor: Page) -> None:
    write(editor, "plan-dwell_us", "0.01")
    editor.until(lambda: "shortest dwell" in editor.text("plan-said"), "the refusal")
    assert "raise dwell_us to 0.125" in editor.text("plan-said")
    wrong = editor.driver.find_elements(By.CSS_SELECTOR, "[aria-invalid]")
    assert [node.get_attribute("id") for node in wrong] == ["plan-dwell_us"]
    assert not editor.enabled("plan-start")
    write(editor, "plan-dwell_us", "2")
    editor.until(lambda: editor.enabled("plan-start"), "mended")
    assert not editor.driver.find_elements(By.CSS_SELECTOR, "[aria-invalid]")


def test_typing_a_plan_orders_nothing(editor: Page, daemon: SyntheticDaemon) -> None:
    write(editor, "plan-name", "b r 1 best")
    editor.press(Keys.ESCAPE)
    editor.press("b")
    editor.until(lambda: daemon.taken, "outside of the field B blanks")
    assert daemon.taken == [EmergencyBlank()]
    assert value(editor, "plan-name") == "b r 1 best"


def test_the_edited_plan_is_the_one_that_starts(editor: Page, daemon: SyntheticDaemon) -> None:
    write(editor, "plan-frames", "7")
    editor.until(lambda: editor.text("plan").startswith("\u270e"), "it is offered above the others")
    editor.press(Keys.ESCAPE)
    editor.press(" ")
    editor.until(lambda: daemon.taken, "started")
    (order,) = daemon.taken
    assert isinstance(order, Start)
    assert isinstance(order.plan, dict)
    assert order.plan["frames"] == 7
    editor.until(lambda: editor.text("phase") == "scanning", "scanning")


def test_a_plan_is_saved_by_name_replaced_when_asked_twice_and_deleted(editor: Page, daemon: SyntheticDaemon) -> None:
    write(editor, "plan-dwell_us", "3")
    write(editor, "plan-name", "mine")
    save = editor.driver.find_element(By.ID, "plan-save")
    save.click()
    editor.until(lambda: "mine" in daemon.book.names, "saved")
    editor.until(lambda: value(editor, "plan") == "mine", "and chosen")
    assert daemon.book.find("mine").dwell_us == 3
    write(editor, "plan-dwell_us", "5")
    save.click()
    editor.until(lambda: save.text == "Replace", "asked")
    assert daemon.book.find("mine").dwell_us == 3
    save.click()
    editor.until(lambda: daemon.book.find("mine").dwell_us == 5, "replaced")
    editor.until(lambda: editor.shown("plan-delete"), "a saved plan can be deleted")
    editor.driver.find_element(By.ID, "plan-delete").click()
    editor.until(lambda: daemon.book.names == PLANS, "deleted")


def test_a_region_is_drawn_scanned_at_its_own_coverage_and_left_again(page: Page, daemon: SyntheticDaemon) -> None:
    page.start()
    page.press("a")
    drag(page, "right-canvas", (0.3, 0.4), (0.6, 0.7))
    page.until(lambda: page.shown("side-plan"), "the editor opens")
    page.until(lambda: page.text("plan-start") == "Abort and start this plan" and page.enabled("plan-start"), "checked")
    assert value(page, "plan-one_in") == "10"
    page.driver.find_element(By.ID, "plan-start").click()
    page.until(lambda: len(daemon.taken) == 3, "the survey is aborted, then the region starts")
    survey, abort, region = daemon.taken
    assert isinstance(survey, Start)
    assert isinstance(abort, Abort)
    assert isinstance(region, Start)
    assert isinstance(region.plan, dict)
    assert region.plan["region"]["height"] == pytest.approx(0.3, abs=0.03)
    assert region.plan["patterns"][0]["coverage"]["value"] == pytest.approx(0.1)
    page.until(lambda: page.text("phase") == "scanning", "scanning")
    assert daemon.region.height == region.plan["region"]["height"]
    back = page.driver.find_element(By.ID, "plan-whole")
    assert back.text == f"Back to {PLANS[0]}"
    back.click()
    page.until(lambda: value(page, "plan-one_in") == "20", "the survey's own coverage")
    assert [value(page, f"plan-{name}") for name in ("y", "x", "height", "width")] == ["0", "0", "1", "1"]


def test_a_region_is_moved_by_its_inside_resized_by_a_corner_and_turned_by_its_handle(
    page: Page, daemon: SyntheticDaemon
) -> None:
    page.start()
    page.press("a")

    def region() -> list[float]:
        return [float(value(page, f"plan-{name}")) for name in ("y", "x", "height", "width", "rotation_deg")]

    drag(page, "right-canvas", (0.35, 0.4), (0.55, 0.6))
    page.until(lambda: region() == pytest.approx([0.35, 0.4, 0.2, 0.2, 0], abs=0.01), "drawn")
    drag(page, "left-canvas", (0.45, 0.5), (0.5, 0.45))
    page.until(lambda: region() == pytest.approx([0.4, 0.35, 0.2, 0.2, 0], abs=0.01), "moved, on the other picture")
    drag(page, "right-canvas", (0.6, 0.55), (0.7, 0.65))
    page.until(lambda: region() == pytest.approx([0.4, 0.35, 0.3, 0.3, 0], abs=0.01), "resized")
    drag(page, "right-canvas", (0.55 - 0.15 - 0.08, 0.5), (0.55, 0.8))
    page.until(lambda: region() == pytest.approx([0.4, 0.35, 0.3, 0.3, 90], abs=2), "turned")
    page.press(Keys.DELETE)
    page.until(lambda: region() == [0, 0, 1, 1, 0], "taken away")


def test_a_region_can_be_typed_and_turned(editor: Page, daemon: SyntheticDaemon) -> None:
    for name, text in (("y", "0.3"), ("x", "0.3"), ("height", "0.4"), ("width", "0.3"), ("rotation_deg", "30")):
        write(editor, f"plan-{name}", text)
    editor.until(lambda: "3.84 nm × 5.12 nm" in editor.text("plan-region-size"), "its size")
    write(editor, "plan-height", "0.9")
    write(editor, "plan-y", "0.05")
    write(editor, "plan-rotation_deg", "80")
    editor.until(lambda: "turns a corner" in editor.text("plan-said"), "it leaves the field")


def test_a_blank_takes_back_the_start_that_waits_for_an_abort(page: Page, daemon: SyntheticDaemon) -> None:
    page.start()
    page.press("e")
    page.until(lambda: page.enabled("plan-start"), "checked")
    page.driver.execute_script(
        "document.getElementById('plan-start').click(); document.getElementById('blank').click()"
    )
    page.until(lambda: EmergencyBlank() in daemon.taken, "blanked")
    page.until(lambda: page.text("beam-text") == "beam blanked, held", "held")
    page.until(lambda: page.text("plan-start") == "Start this plan", "nothing waits any more")
    assert sum(isinstance(order, Start) for order in daemon.taken) == 1


def test_what_the_next_recording_is_of_is_typed_and_kept_by_the_daemon(page: Page, daemon: SyntheticDaemon) -> None:
    page.until(lambda: page.enabled("go"), "connected")
    page.driver.find_element(By.ID, "tab-about").click()
    for name, text in (("specimen", "grid-7b"), ("operator", "bob r"), ("notes", "first look b")):
        write(page, f"about-{name}", text)
    page.driver.find_element(By.ID, "about-send").click()
    page.until(lambda: daemon.describing.now.specimen == "grid-7b", "taken")
    assert (daemon.describing.now.operator, daemon.describing.now.notes) == ("bob r", "first look b")
    page.until(lambda: "next recording" in page.text("about-said"), "said")
    assert EmergencyBlank() not in daemon.taken
    write(page, "about-specimen", "a/b")
    page.driver.find_element(By.ID, "about-send").click()
    page.until(lambda: "a/b" in page.text("about-said"), "why not")
    assert value(page, "about-specimen") == "a/b", "what was typed is not lost"


def test_another_detector_is_one_key_away_where_there_are_several(page: Page, daemon: SyntheticDaemon) -> None:
    page.until(lambda: page.enabled("go"), "connected")
    assert not page.shown("channel-label")
    daemon.channels = ("HAADF", "BF")
    page.until(lambda: page.shown("channel-label"), "a choice")
    page.press("d")
    page.until(lambda: value(page, "channel") == "BF", "the other one")
    assert daemon.taken[-1] == ShowChannel(channel="BF")


def test_two_detectors_are_looked_at_at_once(page: Page, daemon: SyntheticDaemon) -> None:
    daemon.channels = ("HAADF", "BF")
    page.start()
    page.driver.execute_script(
        "const s = document.getElementById('beside'); s.value = 'BF'; s.dispatchEvent(new Event('change'))"
    )
    page.until(lambda: ShowChannel(channel="HAADF", beside="BF") in daemon.taken, "asked for")
    page.until(lambda: page.text("left-title") == "Restored", "in place of the partial scan")

    def likeness() -> float:
        left, right = (page.pixels(f"{side}-canvas")[60:-60, 60:-60, 0].astype(float) for side in ("left", "right"))
        return float(np.corrcoef(left.ravel(), right[: left.shape[0], : left.shape[1]].ravel())[0, 1])

    page.until(lambda: likeness() < -0.7, "bright where the other is dark")
    page.press("d")
    page.until(lambda: ShowChannel(channel="BF", beside="HAADF") in daemon.taken, "they change places")
    truth = page.driver.find_element(By.CSS_SELECTOR, "[data-view='truth']")
    page.until(lambda: not truth.is_displayed(), "the truth is of the first detector alone")
    page.driver.execute_script(
        "const s = document.getElementById('beside'); s.value = ''; s.dispatchEvent(new Event('change'))"
    )
    page.until(lambda: page.text("left-title") == "Partial scan", "alone again")


def test_an_observer_sees_the_plan_and_changes_nothing(
    browser: object, server: object, daemon: SyntheticDaemon
) -> None:
    page = Page(browser).open(server.observer_url)  # type: ignore[attr-defined]
    page.until(lambda: page.shown("role"), "an observer's")
    page.press("e")
    page.until(lambda: value(page, "plan-dwell_us") == "2", "the plan is there to be read")
    assert not page.enabled("plan-dwell_us")
    assert page.text("plan-said") == "", "and nothing is asked that would be refused"
    assert not page.enabled("plan-start")
    assert daemon.taken == []


def test_while_a_script_holds_the_start_the_page_says_whose_and_can_still_blank(
    editor: Page, daemon: SyntheticDaemon
) -> None:
    daemon.claimed_by = "anna"
    editor.until(lambda: editor.shown("claim"), "said")
    assert editor.text("claim") == "a script of anna starts"
    assert not editor.enabled("go")
    assert not editor.enabled("plan-start")
    editor.press("b")
    editor.until(lambda: EmergencyBlank() in daemon.taken, "blanked")
