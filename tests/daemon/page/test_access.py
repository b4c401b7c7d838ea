"""Only the right address, origin and token get in, and a page in the open is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scancontrol.daemon.page.access import (
    AccessPolicy,
    check_binding,
    check_token,
    is_loopback,
    new_token,
    security_headers,
)
from scancontrol.errors import InvalidInput

OPERATOR, OBSERVER = new_token(), new_token()
POLICY = AccessPolicy("http", frozenset({"127.0.0.1:8100", "localhost:8100"}), OPERATOR, OBSERVER)


@pytest.mark.parametrize("hosts", [["127.0.0.1:8100"], ["LOCALHOST:8100"]])
def test_the_names_that_are_served_are_allowed(hosts: list[str]) -> None:
    assert POLICY.host_allowed(hosts)


@pytest.mark.parametrize(
    "hosts", [[], ["evil.example:8100"], ["127.0.0.1"], ["127.0.0.1:80"], ["127.0.0.1:8100", "127.0.0.1:8100"], [""]]
)
def test_a_name_that_was_rebound_to_us_is_not(hosts: list[str]) -> None:
    assert not POLICY.host_allowed(hosts)


@pytest.mark.parametrize(
    "origins",
    [
        [],
        ["null"],
        ["https://127.0.0.1:8100"],
        ["http://evil.example"],
        ["http://127.0.0.1:8100.evil.example"],
        ["http://127.0.0.1:8100", "http://evil.example"],
    ],
)
def test_a_page_of_another_origin_is_refused(origins: list[str]) -> None:
    assert POLICY.origin_allowed(["http://127.0.0.1:8100"])
    assert not POLICY.origin_allowed(origins)


def test_each_token_gives_its_role_and_the_stronger_wins() -> None:
    assert POLICY.role_of(["scancontrol.daemon.page.1", f"token.{OPERATOR}"]) == "operator"
    assert POLICY.role_of([f"token.{OBSERVER}"]) == "observer"
    assert POLICY.role_of([f"token.{OBSERVER}", f"token.{OPERATOR}"]) == "operator"


OFFER = st.text(st.characters(max_codepoint=255), max_size=50)  # all that a header can carry


@settings(max_examples=50, deadline=None)
@given(st.lists(OFFER | OFFER.map("token.".__add__), max_size=12))
def test_no_other_offer_gives_a_role(offers: list[str]) -> None:
    assert POLICY.role_of(offers) is None


def test_tokens_are_long_fresh_and_checked() -> None:
    assert len({new_token() for _ in range(100)}) == 100
    check_token(new_token())
    for bad in ("", "short", "x" * 21, "x" * 129, "white space in the token 1234", "ünïcode-ünïcode-ünïcode"):
        with pytest.raises(InvalidInput) as refused:
            check_token(bad)
        assert not bad or bad not in str(refused.value)  # a refused secret is not printed


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_loopback_needs_no_tls(host: str) -> None:
    assert is_loopback(host)
    check_binding(host, tls=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "", "microscope.lan", "localhost.evil.example"])  # noqa: S104
def test_any_other_address_needs_tls(host: str) -> None:
    with pytest.raises(InvalidInput, match="TLS"):
        check_binding(host, tls=False)
    check_binding(host, tls=True)


def test_the_content_security_policy_allows_nothing_inline_or_foreign() -> None:
    policy = security_headers(POLICY, "127.0.0.1:8100")["Content-Security-Policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == "'self'"
    assert "unsafe" not in policy
    assert directives["connect-src"] == "'self' ws://127.0.0.1:8100"
