"""What failed is tried again later each time, never later than the bound, and soon once it went well."""

from __future__ import annotations

from scancontrol.processes.backoff import Backoff


def test_waits_double_up_to_the_bound_and_begin_anew_after_it_went_well() -> None:
    backoff = Backoff(0.1, 0.5)
    assert [backoff.next_s() for _ in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    backoff.reset()
    assert [backoff.next_s() for _ in range(2)] == [0.1, 0.2]
