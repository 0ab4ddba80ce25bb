import datetime
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509

from tidegate.app.certificates import CERTIFICATE, KEY, ROOT, ROOT_KEY, make
from tidegate.app.keypair import read_pair
from tidegate.cli.main import cli
from tidegate.kit.errors import TidegateError

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_root_and_what_it_signs(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    assert make(folder, ["istiod.istio-system.svc", "192.0.2.1", "::1"], DAY, NOW)
    read_pair(folder / CERTIFICATE, folder / KEY)
    made, root = read(folder / CERTIFICATE), read(folder / ROOT)
    made.verify_directly_issued_by(root)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["istiod.istio-system.svc"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.1", "::1"]
    assert made.not_valid_after_utc == NOW + DAY
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_the_same_root_signs_the_next_one(tmp_path: Path) -> None:
    make(tmp_path, ["a"], DAY, NOW)
    root, before = (tmp_path / ROOT).read_bytes(), (tmp_path / CERTIFICATE).read_bytes()
    assert not make(tmp_path, ["a"], DAY, NOW)
    assert (tmp_path / ROOT).read_bytes() == root and (tmp_path / CERTIFICATE).read_bytes() != before
    make(tmp_path, ["a"], DAY * 5000, NOW)
    assert read(tmp_path / CERTIFICATE).not_valid_after_utc == read(tmp_path / ROOT).not_valid_after_utc


@pytest.mark.parametrize("name", ["", "a b", "ü", "a" * 300, "*.*.a", "http://a"])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(TidegateError, match="expected a DNS name or an IP address"):
        make(tmp_path, [name], DAY, NOW)
    assert not list(tmp_path.iterdir())


def test_a_root_that_cannot_be_used_is_left_alone(tmp_path: Path) -> None:
    make(tmp_path, ["a"], DAY, NOW)
    other = tmp_path / "other"
    make(other, ["a"], DAY, NOW)
    (tmp_path / ROOT_KEY).write_bytes((other / ROOT_KEY).read_bytes())
    with pytest.raises(TidegateError, match="is not the key of"):
        make(tmp_path, ["a"], DAY, NOW)
    (tmp_path / ROOT_KEY).unlink()
    with pytest.raises(TidegateError, match="remove both to have another made"):
        make(tmp_path, ["a"], DAY, NOW)


def test_the_command_says_what_it_made(tmp_path: Path) -> None:
    words = ["certificate", "--dir", str(tmp_path / "pki"), "--name", "a.example"]
    assert "for a.example, and its new root" in CliRunner().invoke(cli, words).stdout
    assert "for a.example, from the root" in CliRunner().invoke(cli, words).stdout
