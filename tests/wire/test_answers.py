"""A refusal is the same error at both ends of the wire."""

import pytest

from scancontrol.errors import DoseLimitPassed, InvalidInput, LeaseHeld, RequestRefused, VersionMismatch
from scancontrol.wire.answers import error_of, refusal
from scancontrol.wire.messages import Refused


@pytest.mark.parametrize("kind", [InvalidInput, DoseLimitPassed])
@pytest.mark.parametrize("quantity", ["area dose (e/Å²)", "dwell_us"])
def test_an_invalid_input_arrives_as_the_type_that_it_was_raised_as(kind: type[InvalidInput], quantity: str) -> None:
    raised = kind(quantity, 3, "is above 2", "lower it")
    arrived = error_of(refusal(7, raised, "invalid"))
    assert type(arrived) is kind
    assert str(arrived) == str(raised)


def test_other_refusals_keep_their_code() -> None:
    arrived = error_of(refusal(7, RuntimeError("not yet"), "not_now"))
    assert isinstance(arrived, RequestRefused)
    assert arrived.code == "not_now"
    assert "not yet" in str(arrived)
    held = error_of(Refused(request=1, code="lease_held", message="operated by ada", holder="ada", remedy="wait"))
    assert isinstance(held, LeaseHeld)
    assert held.holder == "ada"
    assert isinstance(error_of(Refused(request=1, code="version", message="speaks 9")), VersionMismatch)
