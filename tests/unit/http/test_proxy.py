"""Forwarded headers and host names."""

from typing import Any

import pytest

from app.core.http.proxy import Hosts, Proxies, normalise, subscriber


def scope(peer: str | None = "10.0.0.1", kind: str = "http", **headers: str) -> dict[str, Any]:
    """A request's scope."""
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": kind, "client": peer and (peer, 1234), "scheme": "http", "headers": [(b"host", b"inside"), *fields]}


def client_of(trusted: list[str], peer: str, chain: str) -> str:
    """Whom a request comes from, as the proxies say."""
    asked = scope(peer, x_forwarded_for=chain)
    Proxies(trusted).apply(asked)
    return asked["client"][0]


def test_without_trusted_proxies_nobody_is_believed_not_even_loopback() -> None:
    assert client_of([], "127.0.0.1", "203.0.113.9") == "127.0.0.1"


def test_a_peer_that_is_not_trusted_is_not_believed() -> None:
    assert client_of(["10.0.0.0/8"], "192.0.2.1", "203.0.113.9") == "192.0.2.1"


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("1.1.1.1, 203.0.113.9", "203.0.113.9"),  # all further left is the client's own word
        ("203.0.113.9, 10.0.0.2, 10.0.0.3", "203.0.113.9"),
        ("10.0.0.2, 10.0.0.3", "10.0.0.2"),
        ("203.0.113.9, nonsense, 10.0.0.2", "10.0.0.2"),
        ("nonsense", "10.0.0.1"),
        ("", "10.0.0.1"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_trusted_proxy(chain: str, client: str) -> None:
    assert client_of(["10.0.0.0/8"], "10.0.0.1", chain) == client


def test_several_headers_are_one_chain() -> None:
    asked = scope(x_forwarded_for="203.0.113.9")
    asked["headers"].append((b"x-forwarded-for", b"10.0.0.2"))
    Proxies(["10.0.0.0/8"]).apply(asked)
    assert asked["client"] == ("203.0.113.9", 0)


@pytest.mark.parametrize(
    ("kind", "given", "scheme"), [("http", "https", "https"), ("websocket", "HTTPS", "wss"), ("http", "gopher", "http")]
)
def test_a_trusted_proxy_says_the_scheme(kind: str, given: str, scheme: str) -> None:
    asked = scope(kind=kind, x_forwarded_proto=given)
    Proxies(["10.0.0.1"]).apply(asked)
    assert asked["scheme"] == scheme


def test_a_trusted_proxy_says_the_host() -> None:
    asked = scope(x_forwarded_host="other.example, api.example.com")
    Proxies(["10.0.0.1"]).apply(asked)
    assert [value for name, value in asked["headers"] if name == b"host"] == [b"api.example.com"]


def test_a_trusted_proxy_that_says_nothing_changes_nothing() -> None:
    asked = scope()
    Proxies(["10.0.0.1"]).apply(asked)
    assert asked == scope()


@pytest.mark.parametrize("peer", [None, "unix-socket"])
def test_a_peer_without_address_is_not_believed(peer: str | None) -> None:
    asked = scope(peer, x_forwarded_proto="https")
    Proxies(["10.0.0.1"]).apply(asked)
    assert asked["scheme"] == "http"


def test_a_proxy_that_is_neither_address_nor_network_is_refused() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        Proxies(["proxy.example.com"])


def test_an_address_is_normalised_once_for_all_its_spellings() -> None:
    assert normalise(" 203.0.113.9 ") == normalise("::ffff:203.0.113.9") == "203.0.113.9"
    assert normalise("nobody") is None


def test_an_ipv6_subscriber_is_its_network() -> None:
    assert subscriber("2001:db8::1") == subscriber("2001:db8::2") == "2001:db8::/64"
    assert subscriber("fe80::1%eth0") == "fe80::/64"


@pytest.mark.parametrize("address", ["203.0.113.9", "::ffff:203.0.113.9"])
def test_an_ipv4_subscriber_is_its_address_however_it_is_written(address: str) -> None:
    assert subscriber(address) == "203.0.113.9"


@pytest.mark.parametrize("address", ["", "testclient"])
def test_who_has_no_address_is_a_subscriber_of_his_own(address: str) -> None:
    assert subscriber(address) == address


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:8000", True),
        ("LOCALHOST", True),
        ("[::1]", True),
        ("[::1]:8000", True),
        ("a.example.com", True),
        ("example.com", False),
        ("evil-example.com", False),
        ("localhost.evil.com", False),
        ("", False),
    ],
)
def test_a_host_is_allowed_by_its_name_without_the_port(host: str, *, allowed: bool) -> None:
    hosts = Hosts(["127.0.0.1", "localhost", "[::1]", "*.example.com"])
    assert hosts.allow([(b"host", host.encode())]) is allowed


def test_a_star_allows_every_host() -> None:
    assert Hosts(["*"]).allow([(b"host", b"anything")])


@pytest.mark.parametrize("headers", [[], [(b"host", b"localhost"), (b"host", b"localhost")]])
def test_a_request_has_one_host(headers: list[tuple[bytes, bytes]]) -> None:
    assert not Hosts(["localhost"]).allow(headers)
