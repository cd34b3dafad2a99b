"""The address of a request's sender can't be forged: only what a trusted proxy wrote counts."""

from pathlib import Path

import pytest
from starlette.types import Scope

from sagagen.runtime.edge.client import client_of
from sagagen.runtime.edge.exchange import TRUSTS
from sagagen.runtime.edge.http.connections import Peers
from sagagen.runtime.settings import Settings

PROXY, OTHER_PROXY, CLIENT, FORGED = "10.0.0.1", "10.0.0.2", "203.0.113.9", "198.51.100.1"


def request_from(peer: str, *headers: tuple[str, str], trusted: str = "10.0.0.0/8") -> Scope:
    networks = Settings.read({"SAGAGEN_TRUSTED_PROXIES": trusted}, Path("/")).trusted_proxies
    return {
        "type": "http",
        "scheme": "http",
        "client": (peer, 40000),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        "state": {TRUSTS: Peers(trusted=networks).trusts},
    }


XFF, FORWARDED = "x-forwarded-for", "forwarded"


@pytest.mark.parametrize(
    ("peer", "headers", "address"),
    [
        pytest.param(CLIENT, [], CLIENT, id="no proxy"),
        pytest.param(CLIENT, [(XFF, FORGED)], CLIENT, id="a stranger says it is another"),
        pytest.param(CLIENT, [(FORWARDED, f"for={FORGED}")], CLIENT, id="the same in the other header"),
        pytest.param(PROXY, [(XFF, CLIENT)], CLIENT, id="a proxy tells"),
        pytest.param(PROXY, [(FORWARDED, f"for={CLIENT}")], CLIENT, id="a proxy tells in the other header"),
        pytest.param(PROXY, [(XFF, f"{FORGED}, {CLIENT}")], CLIENT, id="forged in front of the proxy's"),
        pytest.param(PROXY, [(XFF, FORGED), (XFF, CLIENT)], CLIENT, id="forged in a line of its own"),
        pytest.param(PROXY, [(FORWARDED, f"for={FORGED}, for={CLIENT}")], CLIENT, id="forged element"),
        pytest.param(PROXY, [(XFF, f"{FORGED},{CLIENT}, {OTHER_PROXY}")], CLIENT, id="two proxies"),
        pytest.param(PROXY, [(XFF, f"{FORGED}, 10.9.9.9, {CLIENT}")], CLIENT, id="a forged proxy"),
        pytest.param(PROXY, [(XFF, CLIENT), (FORWARDED, f"for={FORGED}")], PROXY, id="one header forged"),
        pytest.param(PROXY, [(XFF, FORGED), (FORWARDED, f"for={CLIENT}")], PROXY, id="or the other"),
        pytest.param(PROXY, [(XFF, CLIENT), (FORWARDED, f"for={CLIENT};by=x")], CLIENT, id="both agree"),
        pytest.param(PROXY, [], PROXY, id="a proxy that tells nothing"),
        pytest.param(PROXY, [(XFF, "")], PROXY, id="or an empty text"),
        pytest.param(PROXY, [(XFF, f"{FORGED}, unknown")], PROXY, id="or that it does not know"),
        pytest.param(PROXY, [(FORWARDED, "for=_hidden")], PROXY, id="or hides it"),
        pytest.param(PROXY, [(XFF, f"{FORGED}, junk, {OTHER_PROXY}")], OTHER_PROXY, id="junk behind a proxy"),
        pytest.param(PROXY, [(FORWARDED, f'for={FORGED};x=", for="[2001:db8::9]"')], PROXY, id="open quote"),
        pytest.param(PROXY, [(FORWARDED, 'for="[2001:db8::9]:4711";proto=https')], "2001:db8::9", id="IPv6"),
        pytest.param(
            PROXY, [(FORWARDED, f'FOR="{CLIENT}:80" ; Proto=http')], CLIENT, id="quoted, with a port"
        ),
        pytest.param(PROXY, [(XFF, f"{CLIENT}:51000")], CLIENT, id="a port"),
        pytest.param(PROXY, [(XFF, "[2001:db8::9]:443")], "2001:db8::9", id="IPv6 with a port"),
        pytest.param(PROXY, [(XFF, "::ffff:203.0.113.9")], CLIENT, id="IPv4 in IPv6"),
        pytest.param("::ffff:10.0.0.1", [(XFF, CLIENT)], CLIENT, id="a proxy over IPv6"),
        pytest.param(PROXY, [(XFF, "10.1.1.1, 10.2.2.2")], "10.1.1.1", id="all of them are trusted"),
    ],
)
def test_the_address_is_the_right_most_that_is_not_trusted(
    peer: str, headers: list[tuple[str, str]], address: str
) -> None:
    assert client_of(request_from(peer, *headers)).address == address


def test_who_trusts_nobody_believes_nobody() -> None:
    assert client_of(request_from(PROXY, (XFF, CLIENT), trusted="none")).address == PROXY


@pytest.mark.parametrize(
    ("peer", "headers", "is_secure"),
    [
        (PROXY, [("x-forwarded-proto", "https")], True),
        (PROXY, [("x-forwarded-proto", "https, http")], False),
        (PROXY, [(FORWARDED, f"for={CLIENT};proto=https")], True),
        (PROXY, [(FORWARDED, f"for={CLIENT};proto=https, for={CLIENT};proto=http")], False),
        (PROXY, [], False),
        (CLIENT, [("x-forwarded-proto", "https")], False),
    ],
)
def test_the_scheme_is_what_the_nearest_proxy_was_asked_with(
    peer: str, headers: list[tuple[str, str]], is_secure: bool
) -> None:
    assert client_of(request_from(peer, *headers)).is_secure is is_secure


def test_a_long_list_is_not_walked_to_its_end() -> None:
    hops = ", ".join(f"10.{i // 250}.{i % 250}.9" for i in range(3000))
    assert client_of(request_from(PROXY, (XFF, hops))).address == "10.11.234.9"
