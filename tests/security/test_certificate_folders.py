"""What lies in a folder of certificates is tried out before anybody relies on it."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from certificates_of import DAY, folder_of, new_ca
from cryptography.hazmat.primitives import serialization
from prometheus_client import REGISTRY
from stack import REPOSITORY
from waiting import LIMIT_S

from sagagen.runtime.model.definition import Mesh
from sagagen.runtime.model.security import Security
from sagagen.runtime.trust.folder import CertificateError, CertificateFolder
from sagagen.runtime.trust.rereading import Certificates
from sagagen.runtime.trust.spiffe import trust_domain

CA = new_ca()


@pytest.fixture
def folder(tmp_path: Path) -> CertificateFolder:
    return folder_of(CA, tmp_path / "order", "order")


def _other_key(folder: Path) -> None:
    CA.issue([], [], DAY).write(folder / "other", CA.certificate)
    (folder / "other" / "key.pem").replace(folder / "key.pem")


def _other_ca(folder: Path) -> None:
    (folder / "ca.pem").write_bytes(new_ca("another").certificate)


def _issued(*uris: str, begins: datetime | None = None) -> Callable[[Path], None]:
    return lambda folder: CA.issue(uris, [], DAY / 2, begins=begins).write(folder, CA.certificate)


def _written(name: str, text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_text(text)

    return write


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _public(folder: Path) -> None:
    (folder / "key.pem").chmod(0o644)


def _encrypted(folder: Path) -> None:
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )


ORDER = "spiffe://lab/order"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            _without("key.pem"),
            "key.pem is missing: the folder of SAGAGEN_TLS_DIR needs cert.pem, key",
        ),
        (_without("ca.pem"), "ca.pem is missing"),
        (
            _public,
            r"key.pem can be read by everybody \(mode 0644\): `chmod 600",
        ),
        (_other_key, r"key.pem does not belong to the certificate in .*cert.pem"),
        (_encrypted, "key.pem is encrypted with a password"),
        (_written("cert.pem", "nothing"), "cert.pem holds no certificate in PEM"),
        (_written("key.pem", ""), "key.pem holds no private key in PEM"),
        (_written("ca.pem", "nothing"), "ca.pem holds no certificate of a CA"),
        (_other_ca, r"cert.pem: no CA in .*ca.pem vouches for it"),
        (_issued(ORDER, begins=datetime.now(UTC) - DAY), r"cert.pem: the certificate has expired, on \d{4}-"),
        (
            _issued(ORDER, begins=datetime.now(UTC) + DAY),
            r"cert.pem: the certificate is not valid before \d{4}-",
        ),
        (
            _issued("spiffe://lab/payment"),
            f"cert.pem speaks for spiffe://lab/payment; this process is {ORDER}",
        ),
        (_issued("spiffe://evil/order"), f"cert.pem speaks for spiffe://evil/order; this process is {ORDER}"),
        (_issued(), "cert.pem: the certificate has no URIs where one SPIFFE id has to stand"),
        (_issued(ORDER, "spiffe://lab/gateway"), "cert.pem: the certificate has 2 URIs"),
    ],
)
def test_what_does_not_fit_is_named(
    folder: CertificateFolder, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(folder.path)
    with pytest.raises(CertificateError, match=said) as error:
        folder.read()
    assert str(folder.path) in str(error.value)
    assert "PRIVATE" not in str(error.value)


def test_a_folder_that_is_not_there_is_named_with_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(
        CertificateError, match=r"SAGAGEN_TLS_DIR: there is no folder .*; `sagagen certs dev` makes"
    ):
        CertificateFolder(tmp_path / "none", "SAGAGEN_TLS_DIR", "lab", "order").read()


def test_a_key_that_a_group_reads_is_taken(folder: CertificateFolder) -> None:
    """Kubernetes mounts secrets so, for a process that is not root."""
    (folder.path / "key.pem").chmod(0o440)
    assert folder.read().expires_s


def test_a_set_that_is_half_written_changes_nothing(folder: CertificateFolder) -> None:
    certificates = Certificates(folder)
    before = certificates.current
    new = CA.issue([ORDER], [], DAY)
    with structlog.testing.capture_logs() as lines:
        (folder.path / "cert.pem").write_bytes(new.certificate)
        certificates.look()
        assert certificates.current is before
        assert not lines  # it may be whole in a moment
        certificates.look()
        certificates.look()
        assert [line["event"] for line in lines] == ["new certificates can't be used: those before stay"]
        (folder.path / "key.pem").write_bytes(new.key)
        certificates.look()
    assert certificates.current is not before


def test_nothing_is_read_again_that_has_not_changed(folder: CertificateFolder) -> None:
    certificates = Certificates(folder)
    before = certificates.current
    certificates.look()
    assert certificates.current is before


def test_a_link_that_points_elsewhere_is_a_change(tmp_path: Path) -> None:
    """Kubernetes renews a volume by a link to another folder."""
    for name in ("first", "second"):
        folder_of(CA, tmp_path / name, "order")
    link = tmp_path / "now"
    link.symlink_to("first")
    certificates = Certificates(CertificateFolder(link, "SAGAGEN_TLS_DIR", "lab", "order"))
    before = certificates.current
    (tmp_path / "next").symlink_to("second")
    (tmp_path / "next").replace(link)
    certificates.look()
    assert certificates.current is not before


def test_a_certificate_near_its_end_is_warned_of_and_told_to_prometheus(tmp_path: Path) -> None:
    folder = folder_of(CA, tmp_path / "order", "order", life=DAY)
    now_s = [datetime.now(UTC).timestamp()]
    certificates = Certificates(folder, clock_s=lambda: now_s[0])
    expires_s = certificates.current.expires_s
    metric = "sagagen_certificate_expiry_timestamp_seconds"
    assert REGISTRY.get_sample_value(metric, {"setting": "SAGAGEN_TLS_DIR"}) == expires_s
    with structlog.testing.capture_logs() as lines:
        certificates.look()
        assert not lines
        now_s[0] = expires_s - timedelta(hours=2).total_seconds()
        certificates.look()
        certificates.look()
        now_s[0] = expires_s + 1
        certificates.look()
    assert [line["event"].partition(":")[0] for line in lines] == [
        "a certificate expires soon",
        "a certificate has expired",
    ]


def test_the_trust_domain_is_the_projects_name_unless_the_contract_has_one() -> None:
    mesh = Mesh("My Shop", (), (), (), Path(), Path())
    assert trust_domain(mesh) == "my-shop"
    assert trust_domain(replace(mesh, security=Security((), trust_domain="shop.example"))) == "shop.example"


def test_certs_dev_makes_private_folders_renews_them_and_changes_its_ca(tmp_path: Path) -> None:
    def dev(*options: str) -> None:
        words = [sys.executable, "-m", "sagagen", "certs", "dev", "--project", str(REPOSITORY)]
        subprocess.run([*words, "--out", str(tmp_path), *options], check=True, timeout=LIMIT_S)

    def read(name: str) -> None:
        CertificateFolder(tmp_path / name, "SAGAGEN_TLS_DIR", "shop", name).read()

    dev()
    names = ["gateway", "inventory", "order", "payment"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == names
    for path in tmp_path.rglob("*"):
        assert os.stat(path).st_mode & 0o077 == 0, path
    before = (tmp_path / "order" / "cert.pem").read_bytes()
    ca = (tmp_path / "ca.pem").read_bytes()
    dev("--new-ca")
    assert (tmp_path / "order" / "cert.pem").read_bytes() != before
    assert (tmp_path / "order" / "ca.pem").read_bytes().endswith(ca)
    for name in names:
        read(name)
