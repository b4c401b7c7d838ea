"""One message of every kind on the wire, and the bytes that it must be."""

from __future__ import annotations

import numpy as np

from scancontrol.capabilities import Capabilities
from scancontrol.wire import messages as m
from scancontrol.wire.framing import CLIENT_CONTROL, CLIENT_DATA, SERVER_CONTROL, SERVER_DATA

T = "0123456789abcdef"
PATH = "00112233445566778899aabbccddeeff"
SCAN = {"series_id": 7, "series_unique_id": "s7", "frame": 2, "path_id": PATH}

MESSAGES = {
    "hello": m.Hello(protocol_version=1, software="scancontrol 1", name="ada", role="operator", session=T),
    "heartbeat": m.Heartbeat(session=T, number=5, client_ns=1_000_000_000),
    "register": m.Register(request=1, path_id=PATH, recipe={"shape": [4, 4]}),
    "piece": m.Piece(path_id=PATH, offset=48, data=b"12"),
    "wanted": m.Wanted(path_id=PATH, offset=48),
    "scan": m.Scan(request=2, first_index=96, area="a1", heard=11, **SCAN),
    "pause": m.Pause(request=3),
    "resume": m.Resume(request=4),
    "abort": m.Abort(request=5, reason="enough"),
    "blank": m.Blank(request=6, name="eve"),
    "blanker": m.SetBlanker(request=7, state="auto"),
    "goodbye": m.Goodbye(session=T),
    "welcome": m.Welcome(
        protocol_version=1,
        software="scancontrol 1",
        server_id=T,
        session=T,
        resumed=False,
        data_address="tcp://127.0.0.1:2",
        capabilities=Capabilities(name="x"),
        limits=m.Limits(),
    ),
    "done": m.Done(request=3),
    "refused": m.Refused(request=None, code="malformed", message="no"),
    "status": m.Status(
        number=5,
        client_ns=1,
        monotonic_ns=2,
        utc_ns=3,
        server_id=T,
        state="idle",
        blanker="auto",
        beam_on=False,
        operator=None,
        series_id=None,
        frame=None,
        next_index=0,
        queued_scans=0,
        next_sequence=9,
        retained_bytes=0,
        session_electrons=0.5,
    ),
    "notice": m.Notice(kind="starved", message="why"),
    "start": m.Start(
        sequence=10, first_index=0, sample_count=16, channels=("HAADF",), monotonic_ns=1, utc_ns=2, **SCAN
    ),
    "chunk": m.ChunkHeader(
        sequence=11,
        first_index=0,
        count=3,
        channels=1,
        dtype="<u2",
        monotonic_ns=1,
        utc_ns=2,
        electrons=1.5,
        frame_electrons=1.5,
        session_electrons=2.5,
        **SCAN,
    ),
    "end": m.End(
        sequence=12,
        reason="completed",
        message="",
        first_index=0,
        next_index=16,
        samples=16,
        electrons=8.0,
        monotonic_ns=1,
        utc_ns=2,
        **SCAN,
    ),
    "attached": m.Attached(server_id=T, next_sequence=10),
    "attach": m.Attach(session=T, have=(m.Have(series_unique_id="s7", frame=2, next_index=96),), credit=16),
    "acknowledge": m.Acknowledge(session=T, next_sequence=12, credit_limit=28),
    "resend": m.Resend(session=T, next_sequence=11),
}

GOLDEN = {
    "hello": (
        b"\x87\xa4type\xa5hello\xb0protocol_version\x01\xa8software\xadscancontrol 1\xa4name\xa3ada\xa4role\xa8"
        b"operator\xa7session\xb00123456789abcdef\xa8features\x90"
    ),
    "heartbeat": (
        b"\x84\xa4type\xa9heartbeat\xa7session\xb00123456789abcdef\xa6number\x05\xa9client_ns\xce;\x9a\xca\x00"
    ),
    "register": (
        b"\x85\xa4type\xa8register\xa7request\x01\xa7path_id\xd9 00112233445566778899aabbccddeeff\xa6recipe\x81"
        b"\xa5shape\x92\x04\x04\xaadata_bytes\x00"
    ),
    "piece": (b"\x84\xa4type\xa5piece\xa7path_id\xd9 00112233445566778899aabbccddeeff\xa6offset0\xa4data\xc4\x0212"),
    "wanted": (b"\x83\xa4type\xa6wanted\xa7path_id\xd9 00112233445566778899aabbccddeeff\xa6offset0"),
    "scan": (
        b"\x8a\xa4type\xa4scan\xa7request\x02\xa9series_id\x07\xb0series_unique_id\xa2s7\xa5frame\x02\xa7path_i"
        b"d\xd9 00112233445566778899aabbccddeeff\xabfirst_index`\xa4area\xa2a1\xaemost_electrons\xc0\xa5heard"
        b"\x0b"
    ),
    "pause": (b"\x82\xa4type\xa5pause\xa7request\x03"),
    "resume": (b"\x82\xa4type\xa6resume\xa7request\x04"),
    "abort": (b"\x83\xa4type\xa5abort\xa7request\x05\xa6reason\xa6enough"),
    "blank": (b"\x83\xa4type\xa5blank\xa7request\x06\xa4name\xa3eve"),
    "blanker": (b"\x84\xa4type\xa7blanker\xa7request\x07\xa5state\xa4auto\xa4hold\xc0"),
    "goodbye": (b"\x82\xa4type\xa7goodbye\xa7session\xb00123456789abcdef"),
    "welcome": (
        b"\x8a\xa4type\xa7welcome\xb0protocol_version\x01\xa8software\xadscancontrol 1\xa9server_id\xb00123456"
        b"789abcdef\xa7session\xb00123456789abcdef\xa7resumed\xc2\xacdata_address\xb1tcp://127.0.0.1:2\xaccapa"
        b"bilities\x8f\xa4name\xa1x\xa9detectors\x91\x88\xa4name\xa5HAADF\xb3counts_per_electron\xcb?\xf0\x00"
        b"\x00\x00\x00\x00\x00\xadoffset_counts\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xb1read_noise_counts\xcb"
        b"\x00\x00\x00\x00\x00\x00\x00\x00\xa8adc_bits\x10\xa8decay_us\xcb\x00\x00\x00\x00\x00\x00\x00\x00"
        b"\xa8averages\xc2\xabdecay_sd_us\xc0\xa8dac_bits\x10"
        b"\xb0sample_clock_mhz\xcb@ \x00\x00\x00\x00\x00\x00\xb1shortest_dwell_us\xcb?\xc0\x00\x00"
        b"\x00\x00\x00\x00\xb0longest_dwell_us\xcb@\xc0\x00\x00\x00\x00\x00\x00\xa4coil\x86\xa5order\x01\xb0ti"
        b"me_constant_us\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xa7damping\xcb?\xf0\x00\x00\x00\x00\x00\x00\xa8de"
        b"lay_us\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xb3time_constant_sd_us\xc0\xabdelay_sd_us\xc0\xb6max_slew"
        b"_fields_per_us\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00\xafbeam_current_pa\xcb@4\x00\x00\x00\x00\x00\x00"
        b"\xafbeam_energy_kev\xcb@i\x00\x00\x00\x00\x00\x00\xb3dose_limit_e_per_a2\xc0\xa9overcount\xcb?\xf0"
        b"\x00\x00\x00\x00\x00\x00\xb6samples_per_path_limit\xce\x10\x00\x00\x00\xa6origin\xaasimulation\xacsa"
        b"mple_dtype\xa3<u2\xa6limits\x88\xacqueued_scans\x04\xb0registered_paths@\xadchunk_samples\xce\x00"
        b"\x01\x00\x00\xadwindow_chunks@\xaeretained_bytes\xce\x10\x00\x00\x00\xacheartbeat_ms(\xabdead_man_ms"
        b"\xcc\xb4\xa8lease_ms\xcd\x03\xe8\xa8features\x90"
    ),
    "done": (b"\x82\xa4type\xa4done\xa7request\x03"),
    "refused": (
        b"\x8b\xa4type\xa7refused\xa7request\xc0\xa4code\xa9malformed\xa7message\xa2no\xa8quantity\xa0\xa5value"
        b"\xa0\xa5limit\xa0\xa6remedy\xa0\xa6holder\xa0\xb0holder_silent_ms\x00\xb0protocol_version\x03"
    ),
    "status": (
        b"\xde\x00\x14\xa4type\xa6status\xa6number\x05\xa9client_ns\x01\xacmonotonic_ns\x02\xa6utc_ns\x03\xa9se"
        b"rver_id\xb00123456789abcdef\xa5state\xa4idle\xa7blanker\xa4auto\xa7beam_on\xc2\xa8operator\xc0\xa9ser"
        b"ies_id\xc0\xa5frame\xc0\xaanext_index\x00\xacqueued_scans\x00\xadnext_sequence\t\xaeretained_bytes"
        b"\x00\xb1session_electrons\xcb?\xe0\x00\x00\x00\x00\x00\x00\xa7starved\x00\xa6blanks\x00\xaabeam_fault"
        b"\xa0"
    ),
    "notice": (b"\x83\xa4type\xa6notice\xa4kind\xa7starved\xa7message\xa3why"),
    "start": (
        b"\x8b\xa4type\xa5start\xa8sequence\n\xa9series_id\x07\xb0series_unique_id\xa2s7\xa5frame\x02\xa7path_i"
        b"d\xd9 00112233445566778899aabbccddeeff\xabfirst_index\x00\xacsample_count\x10\xa8channels\x91\xa5HAAD"
        b"F\xacmonotonic_ns\x01\xa6utc_ns\x02"
    ),
    "chunk": (
        b"\x8f\xa4type\xa5chunk\xa8sequence\x0b\xa9series_id\x07\xb0series_unique_id\xa2s7\xa5frame\x02\xa7path"
        b"_id\xd9 00112233445566778899aabbccddeeff\xabfirst_index\x00\xa5count\x03\xa8channels\x01\xa5dtype\xa3"
        b"<u2\xacmonotonic_ns\x01\xa6utc_ns\x02\xa9electrons\xcb?\xf8\x00\x00\x00\x00\x00\x00\xafframe_electron"
        b"s\xcb?\xf8\x00\x00\x00\x00\x00\x00\xb1session_electrons\xcb@\x04\x00\x00\x00\x00\x00\x00"
    ),
    "end": (
        b"\x8e\xa4type\xa3end\xa8sequence\x0c\xa9series_id\x07\xb0series_unique_id\xa2s7\xa5frame\x02\xa7path_i"
        b"d\xd9 00112233445566778899aabbccddeeff\xa6reason\xa9completed\xa7message\xa0\xabfirst_index\x00\xaane"
        b"xt_index\x10\xa7samples\x10\xa9electrons\xcb@ \x00\x00\x00\x00\x00\x00\xacmonotonic_ns\x01\xa6utc_ns"
        b"\x02"
    ),
    "attached": (
        b"\x85\xa4type\xa8attached\xa9server_id\xb00123456789abcdef\xadnext_sequence\n\xb1discarded_samples\x00"
        b"\xaclost_samples\x00"
    ),
    "attach": (
        b"\x85\xa4type\xa6attach\xa7session\xb00123456789abcdef\xadnext_sequence\xc0\xa4have\x91\x83\xb0series_"
        b"unique_id\xa2s7\xa5frame\x02\xaanext_index`\xa6credit\x10"
    ),
    "acknowledge": (
        b"\x84\xa4type\xabacknowledge\xa7session\xb00123456789abcdef\xadnext_sequence\x0c\xaccredit_limit\x1c"
    ),
    "resend": (b"\x83\xa4type\xa6resend\xa7session\xb00123456789abcdef\xadnext_sequence\x0b"),
}

CODECS = {
    CLIENT_CONTROL: m.ClientControl,
    SERVER_CONTROL: m.ServerControl,
    SERVER_DATA: m.ServerData,
    CLIENT_DATA: m.ClientData,
}
SAMPLES = np.array([[1, 2, 65535]], "<u2")
