"""Connections to NATS over TLS, with an authority made for the test."""

import datetime as dt
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.local.nats_server import NatsServer
from deploy.local.processes import Launch
from shared import nats as connections
from shared.broker import Broker
from shared.errors import Permanent, Unavailable
from shared.nats import connect


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey
) -> bytes:
    now = dt.datetime.now(dt.UTC)
    authority = subject == issuer
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    made = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


class SecureServer(NatsServer):
    def launch(self) -> Launch:
        launch = super().launch()
        config = self.folder / "nats.conf"
        files = f'cert_file: "{self.folder}/server.pem", key_file: "{self.folder}/server-key.pem"'
        config.write_text(f"{config.read_text()}tls {{ {files}, handshake_first: true }}\n")
        return launch


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureServer]:
    folder = tmp_path_factory.mktemp("tls")
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    (folder / "ca.pem").write_bytes(_certificate("authority", authority, "authority", authority))
    (folder / "server.pem").write_bytes(_certificate("server", own, "authority", authority))
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "server-key.pem").write_bytes(own.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    running = SecureServer(folder)
    running.start()
    yield running
    running.stop()


def secure(url: str) -> str:
    return url.replace("nats://", "tls://")


async def test_a_service_and_its_broker_connect_with_the_authority(server: SecureServer) -> None:
    url, ca_file = secure(server.url_for("executor")), server.folder / "ca.pem"
    nc = await connect(url, "executor", ca_file=ca_file)
    await nc.flush()
    await nc.close()
    async with Broker(url, "executor", lambda _: None, ca_file=ca_file) as broker:
        assert await broker.ping(5)


async def test_a_server_of_an_unknown_authority_is_not_spoken_to(
    server: SecureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "FIRST_CONNECT_SECONDS", 1.0)
    with pytest.raises(Unavailable, match="certificate verify failed"):
        await connect(secure(server.url_for("executor")), "executor")


async def test_a_server_without_tls_hears_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client library by itself would send it in the clear."""
    monkeypatch.setattr(connections, "FIRST_CONNECT_SECONDS", 1.0)
    heard = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def pretend() -> None:
            line, _ = listener.accept()
            with line:
                line.settimeout(0.5)
                line.sendall(b'INFO {"server_id":"x","version":"2.15.1","max_payload":1048576}\r\n')
                try:
                    while data := line.recv(4096):
                        heard.extend(data)
                except OSError:
                    return

        thread = threading.Thread(target=pretend)
        thread.start()
        with pytest.raises(Unavailable):
            await connect(f"tls://executor:secret-word@127.0.0.1:{listener.getsockname()[1]}", "executor")
        thread.join()
    assert b"secret-word" not in heard


async def test_what_contradicts_itself_is_refused(server: SecureServer, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    plain, over_tls = server.url_for("executor"), secure(server.url_for("executor"))
    for url, ca_file, said in (
        (plain, server.folder / "ca.pem", "must begin with tls://"),
        (f"{plain},{over_tls}", None, "all of them must be tls://"),
        (over_tls, tmp_path / "bad.pem", "LEKHIKA_NATS_CA_FILE"),
    ):
        with pytest.raises(Permanent, match=said) as refusal:
            await connect(url, "executor", ca_file=ca_file)
        assert plain.split(":")[2].split("@")[0] not in str(refusal.value)
