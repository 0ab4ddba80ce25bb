"""``tidegate discovery`` with a listener in the network: what it refuses before it starts."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.certificates import Authority
from tidegate.cli.discovery import discovery
from tidegate.kit.errors import TidegateError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(discovery, ["--kubeconfig", "none", *arguments])


@pytest.mark.parametrize("given", [["--tls-address", "a"], ["--tls-cert", "a"], ["--tls-cert", "a", "--tls-key", "b"]])
def test_all_or_none_of_the_three(given: list[str]) -> None:
    done = run(*given)
    assert done.exit_code == 2
    assert "--tls-address, --tls-cert and --tls-key: expected all of them, or none" in done.output


@pytest.mark.parametrize(
    ("address", "reason"),
    [("a:b", "--tls-address 'a:b': expected HOST:PORT"), ("a", "cannot be used: the key is another certificate's")],
)
def test_what_cannot_be_used(tmp_path: Path, address: str, reason: str) -> None:
    one, other = Authority().issue("a"), Authority().issue("a")
    (tmp_path / "tls.crt").write_bytes(one.certificate)
    (tmp_path / "tls.key").write_bytes(other.key)
    files = ["--tls-cert", str(tmp_path / "tls.crt"), "--tls-key", str(tmp_path / "tls.key")]
    with pytest.raises(TidegateError, match=reason):
        raise run("--tls-address", address, *files).exception or AssertionError
