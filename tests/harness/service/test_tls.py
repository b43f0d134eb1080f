"""TLS: clients check the nodes, and nodes each other."""

from __future__ import annotations

import shutil

import pytest

from kvraft.rpc import Err
from kvraft.service import Client, Tls, Unavailable
from kvraft.service.cluster import free_ports
from tests.harness.service.certificates import make_authority, make_certificate

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return make_authority(tmp_path_factory.mktemp("certificates"))


def test_mutual_tls_and_a_port_for_clients_without_certificates(local, authority):
    node, own = make_certificate(authority, "node"), make_certificate(authority, "client")
    cluster = local(1, tls=Tls(*node, authority), client_listen=f"127.0.0.1:{free_ports(1)[0]}")
    with cluster.client(authority=authority, certificate=own[0], key=own[1]) as client:
        assert client.put("a", "1", 0) is Err.OK
    with cluster.client(authority=authority, timeout=1) as client, pytest.raises(Unavailable):
        client.get("a")  # no certificate
    with Client([cluster.node(0).settings.client_listen], authority=authority) as client:
        assert client.get("a") == ("1", 1, Err.OK)


def test_nodes_reach_each_other_and_strangers_reach_none(local, authority):
    cluster = local(tls=Tls(*make_certificate(authority, "node"), authority))
    certificate, key = make_certificate(authority, "client")
    with cluster.client(authority=authority, certificate=certificate, key=key) as client:
        assert client.put("a", "1", 0) is Err.OK
    other = make_authority(authority.parent, "other")
    certificate, key = make_certificate(other, "stranger")
    with (
        cluster.client(authority=authority, certificate=certificate, key=key, timeout=1) as stranger,
        pytest.raises(Unavailable),
    ):
        stranger.get("a")
    with cluster.client(authority=other, timeout=1) as distrustful, pytest.raises(Unavailable):
        distrustful.get("a")
    with cluster.client(timeout=1) as plain, pytest.raises(Unavailable):
        plain.get("a")
