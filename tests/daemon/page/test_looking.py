"""Looking closer on the page, in a real browser: lines, transforms, colours, earlier frames, files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from synthetic_daemon import PLANS, SyntheticDaemon

from scancontrol.daemon.page.messages import Abort, EmergencyBlank, Pause, Start

pytest.importorskip("selenium")
from chromium import By, Page, drag, needs_chromium
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture
def saved(browser: Any, tmp_path: Path) -> Iterator[Path]:
    """Where what the page saves arrives."""
    command = "Browser.setDownloadBehavior"
    browser.execute_cdp_cmd(command, {"behavior": "allow", "downloadPath": str(tmp_path)})
    yield tmp_path
    browser.execute_cdp_cmd(command, {"behavior": "default"})


def write(page: Page, text: str) -> None:
    """Type into a text field that is made for it: no part of the page has one at all times."""
    page.driver.execute_script(
        "const field = document.createElement('input'); field.id = 'field'; document.body.append(field); field.focus();"
    )
    page.press(text)


def test_no_key_is_an_order_while_it_is_text(still: Page, daemon: SyntheticDaemon) -> None:
    write(still, "a bb 1 o l")
    assert still.driver.execute_script("return document.getElementById('field').value") == "a bb 1 o l"
    still.press(Keys.ESCAPE)  # leaves the field, and aborts nothing
    assert daemon.taken == [Start(plan=PLANS[0], number=0), Pause()]
    still.press("b")
    still.until(lambda: EmergencyBlank() in daemon.taken, "outside the field B blanks")
    assert Abort() not in daemon.taken


def test_space_presses_the_button_that_the_keyboard_is_on(still: Page, daemon: SyntheticDaemon) -> None:
    still.driver.execute_script("document.getElementById('gamma').focus()")
    for _ in range(20):
        still.press(Keys.SHIFT + Keys.TAB + Keys.NULL)
        if still.driver.switch_to.active_element.get_attribute("id") == "lock":
            break
    still.press(" ")
    still.until(lambda: still.text("clip") == "held", "the lock was pressed")
    assert daemon.taken == [Start(plan=PLANS[0], number=0), Pause()]


def test_a_line_gives_its_length_and_the_values_along_it_with_their_interval(still: Page) -> None:
    assert not still.shown("profile-panel")
    still.press("m")
    drag(still, "right-canvas", (0.5, 0.2), (0.5, 0.7))
    still.until(lambda: still.shown("profile-panel"), "the profile")
    still.until(lambda: len(re.findall(r"-?[\d.]+", still.text("profile-text"))) == 2, "length and angle")
    length, angle = re.findall(r"-?[\d.]+", still.text("profile-text"))
    assert float(length) == pytest.approx(12.8 * 0.5, rel=0.02)
    assert float(angle) == pytest.approx(0, abs=0.5)
    still.until(lambda: still.pixels("profile").max() > 200, "drawn")
    still.press(Keys.DELETE)
    still.until(lambda: not still.shown("profile-panel") and still.shown("histogram"), "taken away")


def test_a_line_can_be_drawn_by_keyboard_alone(still: Page) -> None:
    still.press("m")
    still.driver.execute_script("document.getElementById('right-canvas').focus()")
    still.press(Keys.ARROW_LEFT * 5 + Keys.ENTER + Keys.ARROW_RIGHT * 10 + Keys.ENTER)
    still.until(lambda: still.shown("profile-panel"), "the profile")
    still.until(lambda: still.text("profile-text").startswith("2.56 nm"), "a fifth of the field")
    still.until(lambda: "restored" in still.text("readout"), "the value under the cursor is said")


def test_the_fourier_transform_reads_spacings(still: Page) -> None:
    grey = still.pixels("right-canvas")
    still.press("f")
    selector = "[data-view='fourier'][aria-selected='true']"
    still.until(lambda: still.driver.find_elements(By.CSS_SELECTOR, selector), "chosen")
    still.until(lambda: np.abs(still.pixels("right-canvas").astype(int) - grey).mean() > 5, "another picture")
    canvas = still.driver.find_element(By.ID, "right-canvas")
    side = min(canvas.size.values())
    ActionChains(still.driver, duration=0).move_to_element_with_offset(canvas, side // 4, 0).perform()
    still.until(lambda: "nm⁻¹" in still.text("readout"), "a frequency")
    per_nm = float(still.text("readout").split()[0])
    assert per_nm == pytest.approx(0.25 / (12.8 / 192), rel=0.06)


def test_gamma_and_colours_change_the_restoration_and_leave_the_samples_grey(still: Page) -> None:
    before = still.pixels("right-canvas").astype(int)
    still.driver.execute_script(
        "for (const [id, value, what] of [['gamma', '-1', 'input'], ['map', 'magma', 'change']]) {"
        "  const node = document.getElementById(id); node.value = value; node.dispatchEvent(new Event(what)); }"
    )
    still.until(lambda: np.ptp(still.pixels("right-canvas").astype(int), axis=2).mean() > 30, "magma")
    still.until(lambda: still.text("gamma-value") == "γ 0.50", "gamma is said")
    assert np.ptp(before, axis=2).mean() < 5
    left = still.pixels("left-canvas").astype(int)
    measured = (left != (19, 31, 50)).any(axis=2) & (np.ptp(left, axis=2) < 2)
    assert measured.mean() > 0.01


def test_one_steps_back_through_the_last_frames_and_live_goes_on(still: Page) -> None:
    newest = still.text("right-caption").split(" ·")[0]
    still.press(",")
    still.until(lambda: "1 before the newest" in still.text("right-caption"), "held")
    earlier = still.text("right-caption").split(" ·")[0]
    assert earlier != newest
    beside = still.text("left-caption")  # a page that was late is sent the newest frames, and may lack some samples
    assert earlier in beside or "not kept" in beside, "its own samples, and never another frame's"
    still.press(" ")
    still.until(lambda: still.text("phase") == "scanning", "the scan goes on")
    still.until(lambda: "4 before the newest" in still.text("right-caption"), "and newer frames come")
    assert earlier in still.text("right-caption"), "what is held stays"
    still.driver.find_element(By.ID, "live").click()
    still.until(lambda: "before the newest" not in still.text("right-caption"), "live")
    still.until(lambda: re.search(r"[\d.]+ s old", still.text("right-caption")), "how old the picture is")


def test_a_snapshot_is_the_picture_with_its_scale_bar_and_the_values_calibrated(still: Page, saved: Path) -> None:
    still.press("s")
    still.press("S")

    def files(kind: str) -> list[Path]:
        return sorted(saved.glob(f"*-restoration.{kind}"))

    still.until(lambda: files("png") and files("tiff"), "both files")
    still.until(lambda: not list(saved.glob("*.crdownload")), "whole")
    with Image.open(files("png")[0]) as picture:
        seen = np.asarray(picture.convert("RGB"))
    assert seen.shape[1] >= 1024
    band = seen[seen.shape[1] :]
    bar = (band[36:46] == 255).all(axis=2).any(axis=0).sum()
    assert 0.05 < bar / seen.shape[1] < 0.25, "a scale bar"
    with tifffile.TiffFile(files("tiff")[0]) as file:
        values, picture = (page.asarray() for page in file.pages)
        across = file.pages[0].tags["XResolution"].value
        assert across[1] / across[0] == pytest.approx(12.8 / 192)
        assert "RESTORED" in file.pages[0].description
    assert values.shape == (192, 192)
    assert values.std() > 50, "counts, not grey levels"
    above = slice(0, seen.shape[1])  # the band below says when, and these are two moments
    assert (picture[above] == seen[above]).all()
    still.until(lambda: still.text("log").count("Saved") == 2, "both are said")


def bent(n: int = 32, strain: float = 0.03) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What a restorer sends of a crystal that is stretched along x on its right half, sure to a hundredth of that."""
    field = np.zeros((8, n, n), np.float32)
    field[3, :, n // 2 :] = strain / (1 + strain)
    field[4:] = strain / 100
    return field


def test_strain_lies_over_the_restoration_and_is_told_with_its_uncertainty(page: Page, daemon: SyntheticDaemon) -> None:
    daemon.strain = bent()
    page.start()
    page.press("x")
    page.until(lambda: np.ptp(page.pixels("right-canvas").astype(int), axis=2).mean() > 15, "tinted")
    canvas = page.driver.find_element(By.ID, "right-canvas")
    side = min(canvas.size.values())

    def strain_at(x: float) -> float:
        ActionChains(page.driver, duration=0).move_to_element_with_offset(canvas, int((x - 0.5) * side), 5).perform()
        page.until(lambda: "εxx" in page.text("readout"), "a strain")
        value, deviation = re.findall(r"εxx (\S+) ± (\S+) %", page.text("readout"))[0]
        assert float(deviation) == pytest.approx(0.03)
        return float(value)

    # Asked again until it is so: a readout may be of the place before.
    page.until(lambda: strain_at(0.9) - strain_at(0.1) == pytest.approx(3, abs=0.05), "stretched on the right")
    page.driver.find_element(By.CSS_SELECTOR, "#strain-keys [data-tool='reference']").click()
    drag(page, "right-canvas", (0.2, 0.1), (0.8, 0.4))
    page.until(lambda: strain_at(0.1) == pytest.approx(0, abs=0.02), "told from the reference")
    page.until(lambda: strain_at(0.9) == pytest.approx(3, abs=0.05), "and so beyond it")
    page.press("x")
    page.until(lambda: "εyy" in page.text("readout"), "the next component")


def test_a_picture_says_from_how_many_frames_it_is_how_much_of_it_is_lattice_and_how_old_it_is(
    page: Page, daemon: SyntheticDaemon
) -> None:
    daemon.told = {"frames": 4, "age_frames": 3, "lattice_share": 0.83}
    page.start()
    page.until(lambda: "of 4 frames, the oldest 3 ago" in page.text("right-caption"), "frames and their age")
    page.until(lambda: re.search(r"[\d.]+ s old", page.text("right-caption")), "how old it is")
    label = page.driver.execute_async_script(
        "const done = arguments[0]; import('/views.js').then((m) => done(m.provenance("
        "{made_by: {method: 'lite', face: 'faithful', frames: 4, lattice_share: 0.83}, partial: false})))"
    )
    assert label == "RESTORED · faithful · lite · 4 frames · lattice 83 %"


def test_where_no_lattice_is_proven_no_strain_is_drawn(page: Page, daemon: SyntheticDaemon) -> None:
    page.start()
    page.press("x")
    page.until(lambda: "No lattice" in page.text("right-message"), "said")
    page.until(
        lambda: np.ptp(page.pixels("right-canvas")[20:-20, 20:-20].reshape(-1, 3), axis=0).max() == 0, "none drawn"
    )


def test_outside_of_a_region_there_is_its_outline_and_no_picture(page: Page, daemon: SyntheticDaemon) -> None:
    page.until(lambda: page.enabled("go"), "connected")
    page.press("e")
    page.until(lambda: page.enabled("plan-start"), "checked")
    typed = {"y": "0.3", "x": "0.3", "height": "0.3", "width": "0.4", "rotation_deg": "25"}
    for name, text in typed.items():
        page.driver.find_element(By.ID, f"plan-{name}").send_keys(Keys.CONTROL + "a" + Keys.NULL + text)
    page.until(lambda: page.enabled("plan-start"), "checked")
    page.driver.find_element(By.ID, "plan-start").click()
    page.until(lambda: "after its last sample" in page.text("right-caption"), "restored")
    page.press("m")  # nothing more to be seen of the region that was typed than its outline
    high, wide = page.pixels("right-canvas").shape[:2]
    side = min(high, wide)
    y, x = (np.mgrid[0:high, 0:wide] - np.array([[[high / 2]], [[wide / 2]]])) / side
    beyond = (np.hypot(y + 0.05, x) > 0.33) & (np.abs(y) < 0.34) & (np.abs(x) < 0.45)

    def nothing_beyond() -> bool:
        return bool((page.pixels("right-canvas")[beyond] == (10, 13, 18)).all(axis=1).mean() > 0.98)

    page.until(nothing_beyond, "no picture beyond the region")
    page.until(lambda: page.pixels("right-canvas")[np.hypot(y + 0.05, x) < 0.1].std() > 8, "and one in it")
    ActionChains(page.driver, duration=0).move_to_element_with_offset(
        page.driver.find_element(By.ID, "right-canvas"), int(0.4 * side), int(-0.3 * side)
    ).perform()
    page.until(lambda: "not known here" in page.text("readout"), "nor a value")
