"""A Flower deployment with TLS and node authentication: the right node trains, all others are refused."""

from __future__ import annotations

import datetime
import ipaddress
import json
import subprocess
from pathlib import Path

import pytest

from fedsam import Run, simulate
from tests.support.processes import ROOT, Processes, free_port, wait_for, wait_for_an_answer_at

pytest.importorskip("flwr")
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

pytestmark = pytest.mark.slow


def certificate(
    folder: Path, name: str, signer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate and its key, as NAME.crt and NAME.key: of an authority, or of this machine, signed by one."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, by = (signer[0].subject, signer[1]) if signer else (subject, key)
    now = datetime.datetime.now(datetime.UTC)
    client = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).add_extension(
        x509.SubjectAlternativeName(client), False
    )
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
        now + datetime.timedelta(days=1)
    )
    made = builder.add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), True).sign(
        by, hashes.SHA256()
    )
    (folder / f"{name}.crt").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    return made, key


def node_key(folder: Path, name: str) -> None:
    """A key pair as `ssh-keygen -t ecdsa -b 384` makes it: NAME and NAME.pub."""
    key = ec.generate_private_key(ec.SECP384R1())
    (folder / name).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    (folder / f"{name}.pub").write_bytes(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))


class Deployment:
    """A SuperLink that wants TLS and known nodes.

    Args:
        processes: starts it.
        folder: of certificates and keys.
    """

    def __init__(self, processes: Processes, folder: Path) -> None:
        self.processes, self.folder, self.port = processes, folder, free_port()
        authority = certificate(folder, "ca")
        certificate(folder, "server", authority)
        certificate(folder, "other")  # an authority that has signed nothing here
        tls = ["--ssl-ca-certfile", f"{folder}/ca.crt", "--ssl-certfile", f"{folder}/server.crt"]
        tls += ["--ssl-keyfile", f"{folder}/server.key", "--enable-supernode-auth", "--port", str(self.port)]
        processes.start("superlink", "flower-superlink", *tls)
        where = f'address = "127.0.0.1:{self.port}"\nroot-certificates'
        config = f'[superlink.here]\n{where} = "{folder}/ca.crt"\n[superlink.wrong]\n{where} = "{folder}/other.crt"\n'
        (processes.folder / "flwr" / "config.toml").write_text(config)
        wait_for_an_answer_at(self.port)

    def flwr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command that ends by itself."""
        return subprocess.run(
            ["flwr", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=self.processes.environment,
            cwd=ROOT,
        )

    def register(self, name: str) -> None:
        """Make a node's key known."""
        node_key(self.folder, name)
        done = self.flwr("supernode", "register", f"{self.folder}/{name}.pub", "here")
        assert done.returncode == 0, done.stdout + done.stderr

    def node(self, name: str, partition: int, of: int, authority: str = "ca") -> subprocess.Popen[bytes]:
        """A node with the key of this name, which trusts this authority."""
        arguments = ["--superlink", f"127.0.0.1:{self.port}", "--root-certificates", f"{self.folder}/{authority}.crt"]
        arguments += ["--auth-supernode-private-key", f"{self.folder}/{name}", "--port", str(free_port())]
        arguments += ["--node-config", f"partition-id={partition} num-partitions={of}", "--max-retries", "1"]
        return self.processes.start(f"{name}-{authority}", "flower-supernode", *arguments)


def test_with_tls_and_node_authentication_only_the_right_nodes_train(processes: Processes, tmp_path: Path) -> None:
    deployment = Deployment(processes, tmp_path)
    for name in ("first", "second"):
        deployment.register(name)
    node_key(tmp_path, "stranger")
    for process, log, why in (
        (deployment.node("stranger", 0, 2), "stranger-ca", "Failed to activate SuperNode"),
        (deployment.node("first", 0, 2, authority="other"), "first-other", "CERTIFICATE_VERIFY_FAILED"),
    ):
        wait_for(process, 240)
        assert process.returncode != 0
        assert why in processes.log(log)
    for partition, name in enumerate(("first", "second")):
        deployment.node(name, partition, 2)
    out = tmp_path / "run"
    settings = f"rounds=1 cohort=2 engine.threads=1 out='{out}'"
    run = ["run", ".", "--stream", "--run-config", settings]
    wrong = deployment.flwr(run[0], run[1], "wrong", *run[2:])
    assert wrong.returncode != 0
    assert "Connection to the SuperLink is unavailable" in wrong.stdout + wrong.stderr
    assert not out.exists()
    client = processes.start("run", "flwr", run[0], run[1], "here", *run[2:])
    wait_for(client, 300)
    keys = {"rounds": 1, "cohort": 2, "data.clients": 2, "engine.name": "loop", "engine.threads": 1}
    here = simulate(Run.from_keys(keys))
    assert f"digest: {here.digest}" in processes.log("run"), processes.log("run")
    assert json.loads((out / "metrics.jsonl").read_text().splitlines()[0])["clients"] == [0, 1]
