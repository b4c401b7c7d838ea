"""Images reach the page within the rounding that is promised, and never larger than a screen."""

from __future__ import annotations

import json
import struct
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scancontrol.daemon.page.frames import MAX_SIDE, encode_frame, quantise
from scancontrol.daemon.page.hub import PartialView, RestorationView, TruthView
from scancontrol.restoration import Provenance

LITE = Provenance(method="lite", face="faithful", weights_hash="ab12", withheld_rmse=0.5, expected_rmse=0.75)


def decode(message: bytes) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """What the page does, in Python: header, and each plane in the samples' units."""
    (length,) = struct.unpack_from("<I", message)
    header = json.loads(message[4 : 4 + length])
    offset, planes, count = 4 + length, {}, header["rows"] * header["cols"]
    assert offset % 8 == 0
    for plane in header["planes"]:
        raw = np.frombuffer(message, "u1" if plane["dtype"] == "u1" else "<u2", count, offset)
        offset += raw.nbytes
        values = raw if plane["dtype"] == "u1" else plane["low"] + (plane["high"] - plane["low"]) / 65535 * raw
        planes[plane["name"]] = values.reshape(header["rows"], header["cols"])
    if header.get("strain_side"):
        shape = (8, header["strain_side"], header["strain_side"])
        planes["strain"] = np.frombuffer(message, "<f4", int(np.prod(shape)), offset).reshape(shape)
        offset += planes["strain"].nbytes
    assert offset == len(message)
    return header, planes


def partial(image: npt.NDArray[Any], weight: npt.NDArray[Any]) -> PartialView:
    return PartialView("s", 3, image, weight, False, int((weight > 0).sum()), "path", 999, 12.5)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    )
)
def test_quantised_values_come_back_within_half_a_step(image: npt.NDArray[np.float32]) -> None:
    q, low, high = quantise(image)
    back = low + (high - low) / 65535 * q.astype(np.float64)
    # Half a step of 16 bits, and the rounding of the float32 arithmetic that finds it.
    bound = (high - low) / 131070 * 1.02 + 4 * np.finfo(np.float32).eps * max(abs(low), abs(high))
    assert np.abs(back - image).max() <= bound
    assert (low, high) == (image.min(), image.max())


@pytest.mark.parametrize("value", [0.0, -3.5, np.finfo(np.float32).max])
def test_an_image_of_one_value_is_that_value(value: float) -> None:
    image = np.full((3, 3), value, np.float32)
    _, planes = decode(encode_frame("truth", 1, TruthView(image)))
    assert (planes["image"] == image).all()


def test_the_whole_range_of_float32_neither_overflows_nor_turns_over() -> None:
    top = np.finfo(np.float32).max
    q, low, high = quantise(np.array([[-top, 0, top]], np.float32))
    assert q.tolist() == [[0, 32768, 65535]] or q.tolist() == [[0, 32767, 65535]]
    assert (low, high) == (-top, top)


def test_what_is_not_finite_is_shown_as_unmeasured() -> None:
    image = np.array([[np.nan, 1.0], [2.0, np.inf]], np.float32)
    _, planes = decode(encode_frame("partial", 1, partial(image, np.ones((2, 2), np.float32))))
    assert planes["weight"].tolist() == [[0, 255], [255, 0]]
    assert planes["image"][0, 1] == pytest.approx(1.0)
    assert planes["image"][1, 0] == pytest.approx(2.0)


def test_unmeasured_pixels_do_not_widen_the_range() -> None:
    image = np.array([[-1e9, 1.0], [2.0, 1e9]], np.float32)
    header, _ = decode(encode_frame("partial", 1, partial(image, np.array([[0, 1], [1, 0]], np.uint8))))
    assert (header["planes"][0]["low"], header["planes"][0]["high"]) == (1.0, 2.0)


def test_every_measured_pixel_is_marked_however_short_its_dwell() -> None:
    weight = np.array([[1e-6, 1.0, 0.0, 0.5]], np.float32)
    _, planes = decode(encode_frame("partial", 1, partial(np.ones((1, 4), np.float32), weight)))
    assert planes["weight"].tolist() == [[1, 255, 0, 128]]


def test_the_header_carries_what_the_page_says() -> None:
    image = np.zeros((3, 5), np.float32)
    view = RestorationView(9, 4, image, image + 2, LITE, 7.5, partial=True)
    header, planes = decode(encode_frame("restoration", 17, view))
    assert list(planes) == ["estimate", "interval"]
    wanted = {
        "type": "restoration",
        "seq": 17,
        "series": "9",
        "frame": 4,
        "made_by": msgspec.to_builtins(LITE),
        "latency_ms": 7.5,
        "partial": True,
        "rows": 3,
        "cols": 5,
    }
    assert {key: header[key] for key in wanted} == wanted


def test_an_image_beyond_the_screen_is_binned_by_its_dwell() -> None:
    rng = np.random.default_rng(1)
    shape = (MAX_SIDE * 2 + 3, MAX_SIDE + 10)
    image, weight = rng.random(shape, np.float32), (rng.random(shape) < 0.3).astype(np.float32)
    header, planes = decode(encode_frame("partial", 1, partial(image, weight)))
    factor = header["binning"]
    assert max(header["rows"], header["cols"]) <= MAX_SIDE
    assert (header["full_rows"], header["full_cols"]) == shape
    for i, j in ((0, 0), (5, 7), (header["rows"] - 1, header["cols"] - 1)):
        block = np.s_[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
        if weight[block].sum():
            assert planes["image"][i, j] == pytest.approx((image * weight)[block].sum() / weight[block].sum(), abs=2e-5)
        assert (planes["weight"][i, j] > 0) == (weight[block].sum() > 0)


@pytest.mark.parametrize("shape", [(1, 5000), (3 * MAX_SIDE, 2), (MAX_SIDE + 1, MAX_SIDE + 1)])
def test_no_shape_is_sent_larger_than_the_screen(shape: tuple[int, int]) -> None:
    image = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    header, planes = decode(encode_frame("restoration", 1, RestorationView(1, 0, image, image, LITE, None)))
    assert max(planes["estimate"].shape) <= MAX_SIDE
    assert header["binning"] == -(-max(shape) // MAX_SIDE)
    header, planes = decode(encode_frame("partial", 1, partial(image, np.ones(shape, np.uint8))))
    assert (planes["weight"] == 255).all()


def test_a_field_of_nothing_measured_is_sent_as_such() -> None:
    _, planes = decode(encode_frame("partial", 1, partial(np.zeros((4, 4), np.float32), np.zeros((4, 4), np.uint8))))
    assert not planes["weight"].any()


def test_forgetting_the_truth_is_an_empty_message() -> None:
    header, planes = decode(encode_frame("truth", 2, TruthView(None, "BF")))
    assert header["channel"] == "BF"
    assert (header["rows"], planes) == (0, {})


def test_the_strain_of_a_crystal_follows_whole_behind_the_planes() -> None:
    image, strain = np.arange(15, dtype=np.float32).reshape(3, 5), np.random.default_rng(3).normal(size=(8, 4, 4))
    known = np.ones((3, 5), bool)
    known[0, 0] = False
    view = RestorationView("s", 3, image, None, LITE, 5.0, known=known, strain=strain.astype(np.float32))
    header, planes = decode(encode_frame("restoration", 1, view))
    assert header["strain_side"] == 4
    assert (planes["strain"] == strain.astype(np.float32)).all()
    assert (planes["known"] > 0).tolist() == known.tolist()
