"""What a browser says is bounded and typed before it is used; what it is told is plain JSON."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scancontrol.acquisition import AcquisitionStatus
from scancontrol.daemon.describing import DescriptionChange
from scancontrol.daemon.page.messages import (
    MAX_COMMAND_BYTES,
    MAX_PLAN_BYTES,
    Abort,
    Acknowledge,
    Alive,
    CheckPlan,
    Claim,
    CorrectDelay,
    DeletePreset,
    Describe,
    EmergencyBlank,
    GetFrame,
    Hello,
    ListPlans,
    LookAt,
    Notice,
    Pause,
    Record,
    Refusal,
    Resume,
    SavePreset,
    ShowChannel,
    Start,
    decode_from_page,
    encode_text,
)
from scancontrol.daemon.snapshot import RestorationsSnapshot, Snapshot
from scancontrol.errors import RemoteProtocolError
from scancontrol.restoration import Look

GOLDEN = [
    (Start(plan="spiral 1/20", number=7), '{"type":"start","plan":"spiral 1/20","number":7}'),
    (Pause(), '{"type":"pause"}'),
    (Resume(number=7), '{"type":"resume","number":7}'),
    (Abort(), '{"type":"abort"}'),
    (EmergencyBlank(), '{"type":"emergency_blank"}'),
    (
        Describe(about=DescriptionChange(specimen="grid-17", stage_um=(1.5, -2.0), notes="kühl")),
        '{"type":"describe","about":{"specimen":"grid-17","stage_um":[1.5,-2.0],"notes":"kühl"}}',
    ),
    (ShowChannel(channel="BF"), '{"type":"show_channel","channel":"BF"}'),
    (CorrectDelay(), '{"type":"correct_delay"}'),
    (LookAt(look=Look(alone=True)), '{"type":"look_at","look":{"alone":true,"lattice":true}}'),
    (Record(on=True), '{"type":"record","on":true}'),
    (Acknowledge(seq=12), '{"type":"ack","seq":12}'),
    (Pause(request=3), '{"type":"pause","request":3}'),
    (CheckPlan(plan={"name": "a"}, request=3), '{"type":"check_plan","plan":{"name":"a"},"request":3}'),
    (CheckPlan(plan="a", request=3), '{"type":"check_plan","plan":"a","request":3}'),
    (ListPlans(request=3), '{"type":"list_plans","request":3}'),
    (SavePreset(plan={}, replace=True, request=3), '{"type":"save_preset","plan":{},"replace":true,"request":3}'),
    (Abort(reason="done"), '{"type":"abort","reason":"done"}'),
    (Alive(), '{"type":"alive"}'),
    (Claim(operator="Ada", within_s=2.0), '{"type":"claim","operator":"Ada","within_s":2.0}'),
    (
        GetFrame(recording="a.hspy", frame=2, wait_s=1.5, request=3),
        '{"type":"get_frame","recording":"a.hspy","frame":2,"wait_s":1.5,"request":3}',
    ),
    (DeletePreset(name="a", request=3), '{"type":"delete_preset","name":"a","request":3}'),
]


@pytest.mark.parametrize(("message", "text"), GOLDEN)
def test_every_message_of_the_page_has_one_spelling(message: msgspec.Struct, text: str) -> None:
    assert decode_from_page(text) == message
    assert msgspec.json.encode(message).decode() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "7",
        '"start"',
        "{}",
        '{"type":"fire"}',
        '{"type":7}',
        '{"plan":"a"}',
        '{"type":"start"}',
        '{"type":"start","plan":7,"number":0}',
        '{"type":"start","plan":"","number":0}',
        '{"type":"start","plan":"a"}',
        '{"type":"start","plan":"a","number":-1}',
        '{"type":"start","plan":"a","number":0,"extra":1}',
        '{"type":"start","plan":"' + "a" * 201 + '","number":0}',
        '{"type":"record","on":"yes"}',
        '{"type":"ack","seq":-1}',
        '{"type":"ack","seq":1.5}',
        '{"type":"ack","seq":99999999999999999999}',
        '{"type":"pause"}{"type":"pause"}',
        "[" * 4000,
        " " * (MAX_COMMAND_BYTES + 1),
        '{"type":"pause"' + " " * MAX_COMMAND_BYTES + "}",
        '{"type":"check_plan","request":1}',
        '{"type":"check_plan","request":-1,"plan":"a"}',
        '{"type":"check_plan","request":1,"plan":["a"]}',
        '{"type":"check_plan","plan":{"a":' + "[" * 100_000 + "}}",
        '{"type":"start","number":0,"plan":{"a":"' + "b" * MAX_PLAN_BYTES + '"}}',
        b'{"type":"pause"}',
        "\ud800",
    ],
)
def test_anything_else_is_a_typed_error(text: str | bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_from_page(text)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=200),
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "plan", "seq", "on"]), inner)
            ),
            max_leaves=8,
        ).map(json.dumps),
    )
)
def test_no_input_does_anything_but_parse_or_be_refused(text: str | bytes) -> None:
    try:
        message = decode_from_page(text)
    except RemoteProtocolError:
        return
    assert decode_from_page(msgspec.json.encode(message).decode()) == message


def test_the_daemon_speaks_tagged_json_without_infinities() -> None:
    scan, restorer = AcquisitionStatus(frame_rate_hz=float("inf")), RestorationsSnapshot(latency_p50_ms=float("nan"))
    status = json.loads(encode_text(Snapshot(scan=scan, restorer=restorer)))
    assert status["type"] == "status"
    assert status["scan"]["phase"] == "idle"
    assert status["scan"]["frame_rate_hz"] is None
    assert status["restorer"]["latency_p50_ms"] is None
    for message, tag in (
        (Hello(protocol="p", server="s", role="observer"), "hello"),
        (Notice("n"), "notice"),
        (Refusal(code="busy", text="t"), "refusal"),
    ):
        assert json.loads(encode_text(message))["type"] == tag


def test_only_a_message_with_a_plan_in_it_may_be_long() -> None:
    plan = {"positions": "A" * (2 * MAX_COMMAND_BYTES)}
    for message in (Start(plan=plan, number=0), CheckPlan(plan=plan), SavePreset(plan=plan)):
        assert decode_from_page(msgspec.json.encode(message).decode()) == message
