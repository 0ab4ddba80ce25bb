import base64
import datetime
import ssl

import pytest
import yaml

from tidegate.kit.errors import TidegateError
from tidegate.store import kubeconfig, pki

NOW = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return pki.load(tmp_path_factory.mktemp("pki"), NOW)


def write(tmp_path, cluster=None, user=None, **more):
    document = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user if user is not None else {"token": "secret"}}],
        "contexts": [
            {"name": "x", "context": {"cluster": "c", "user": "u"}},
            {"name": "anonymous", "context": {"cluster": "c"}},
        ],
        "current-context": "x",
        **more,
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


def test_token_and_inline_authority(tmp_path, keys):
    data = base64.b64encode(keys.ca_pem).decode()
    access = kubeconfig.load(write(tmp_path, {"certificate-authority-data": data, "tls-server-name": "kubernetes"}))
    assert (access.server, access.token, access.server_name) == ("https://127.0.0.1:1", "secret", "kubernetes")
    assert access.tls is not None and access.tls.verify_mode == ssl.CERT_REQUIRED
    assert len(access.tls.get_ca_certs()) == 1


def test_files_are_relative_to_the_kubeconfig(tmp_path, keys):
    (tmp_path / "ca.crt").write_bytes(keys.ca_pem)
    (tmp_path / "client.crt").write_bytes(keys.cert_file.read_bytes())
    (tmp_path / "client.key").write_bytes(keys.key_file.read_bytes())
    (tmp_path / "token").write_text("from-file\n")
    user = {"client-certificate": "client.crt", "client-key": "client.key", "tokenFile": "token"}
    access = kubeconfig.load(write(tmp_path, {"certificate-authority": "ca.crt"}, user))
    assert access.token == "from-file"


def test_a_token_file_is_read_anew(tmp_path):
    (tmp_path / "token").write_text("first\n")
    access = kubeconfig.load(write(tmp_path, user={"tokenFile": "token"}))
    assert access.authorization() == {"Authorization": "Bearer first"}
    (tmp_path / "token").write_text("second\n")
    assert access.authorization() == {"Authorization": "Bearer second"}
    (tmp_path / "token").unlink()
    assert access.authorization() == {"Authorization": "Bearer first"}


def test_nobody_shows_no_token(tmp_path):
    assert kubeconfig.load(write(tmp_path), "anonymous").authorization() == {}


def test_another_context(tmp_path):
    assert kubeconfig.load(write(tmp_path), "anonymous").token == ""


def test_verification_can_be_turned_off(tmp_path):
    access = kubeconfig.load(write(tmp_path, {"insecure-skip-tls-verify": True}))
    assert access.tls is not None and access.tls.verify_mode == ssl.CERT_NONE


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"current-context": "none"}, "no context named 'none'"),
        ({"current-context": ""}, "current-context"),
        ({"users": []}, "no user named 'u'"),
        ({"clusters": "text"}, "no cluster named 'c'"),
        ({"cluster": {"server": "ftp://x"}}, "http(s) URL"),
        ({"cluster": {"certificate-authority-data": "%%"}}, "not base64"),
        ({"cluster": {"certificate-authority-data": "aGVsbG8="}}, "cannot be used"),
        ({"cluster": {"certificate-authority": "none.crt"}}, "none.crt"),
        ({"user": {"exec": {"command": "x"}}}, "exec"),
        ({"user": {"tokenFile": "none"}}, "tokenFile"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, options, words):
    path = write(tmp_path, **options)
    with pytest.raises(TidegateError) as caught:
        kubeconfig.load(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["[", "just text", ""])
def test_files_that_are_no_kubeconfig(tmp_path, text):
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(TidegateError):
        kubeconfig.load(path)


def test_absent_file(tmp_path):
    with pytest.raises(TidegateError) as caught:
        kubeconfig.load(tmp_path / "none")
    assert "No such file" in str(caught.value)


def test_keys_are_kept_and_certificates_renewed(tmp_path):
    first = pki.load(tmp_path / "pki", NOW)
    certificate = first.cert_file.read_bytes()
    again = pki.load(tmp_path / "pki", NOW + datetime.timedelta(days=100))
    assert again.admin_token == first.admin_token and again.cert_file.read_bytes() == certificate
    late = pki.load(tmp_path / "pki", NOW + datetime.timedelta(days=3640))
    assert late.admin_token == first.admin_token and late.cert_file.read_bytes() != certificate
