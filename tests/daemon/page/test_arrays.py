"""Exact arrays survive the message; what is no such message is refused whatever it is."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scancontrol.daemon.page.arrays import decode_binary, encode_arrays
from scancontrol.daemon.page.frames import encode_frame
from scancontrol.daemon.page.hub import PartialView
from scancontrol.errors import RemoteProtocolError

KINDS = st.sampled_from([np.bool_, np.uint8, np.uint16, np.float32, np.float64])
ARRAYS = KINDS.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5)))


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.text(max_size=8), ARRAYS, max_size=4))
def test_arrays_come_back_as_they_were(arrays: dict[str, npt.NDArray[Any]]) -> None:
    header, back = decode_binary(encode_arrays("frame", 5, {"fact": "é"}, arrays))
    assert (header["type"], header["request"], header["fact"]) == ("frame", 5, "é")
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_a_picture_for_the_page_is_understood_too() -> None:
    image = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    view = PartialView("s", 3, image, np.array([[1, 0], [1, 2]], np.uint8), False, 3, "path")
    header, planes = decode_binary(encode_frame("partial", 9, view))
    assert (header["type"], header["seq"], header["frame"]) == ("partial", 9, 3)
    np.testing.assert_allclose(planes["image"][planes["weight"] > 0], [1.0, 3.0, 4.0], atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_is_a_typed_error_or_other_numbers_and_nothing_else(data: st.DataObject) -> None:
    message = bytearray(encode_arrays("frame", 1, {}, {"a": np.arange(6.0), "b": np.zeros((2, 3), np.uint16)}))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(message[: data.draw(st.integers(0, len(message)))])
    with contextlib.suppress(RemoteProtocolError):
        header, arrays = decode_binary(cut)
        assert len(arrays) == len({plane["name"] for plane in header["planes"]})


@pytest.mark.parametrize(
    "planes", ['[{"name":"a","dtype":"|O","shape":[1]}]', '[{"name":"a","dtype":"<f8","shape":[-1]}]', "7"]
)
def test_a_plane_that_could_be_anything_else_is_refused(planes: str) -> None:
    text = f'{{"planes":{planes}}}'.encode()
    with pytest.raises(RemoteProtocolError):
        decode_binary(len(text).to_bytes(4, "little") + text + bytes(64))
