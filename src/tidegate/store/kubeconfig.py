"""Reading a kubeconfig: where the API server is, whom to trust and who to be.

Certificates, keys and tokens, inline or as files. Credential plugins (exec, auth-provider) are refused by name.
"""

import base64
import binascii
import contextlib
import ssl
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tidegate.kit import boundedyaml
from tidegate.kit.errors import TidegateError

_MAX_BYTES = 4 * 1024 * 1024


class Access(msgspec.Struct, frozen=True):
    """How to reach one cluster as one user."""

    server: str
    """Base URL without a trailing slash."""
    tls: ssl.SSLContext | None
    """None for plain http."""
    token: str = ""
    server_name: str | None = None
    """The name to expect in the server's certificate, where it is not the URL's."""
    token_file: Path | None = None
    """Where the token is from, and later another one: tokens of pods rotate."""

    def authorization(self) -> dict[str, str]:
        """The header that says who asks. The token of the start serves while the file cannot be read."""
        token = self.token
        if self.token_file is not None:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                token = self.token_file.read_text().strip() or token
        return {"Authorization": f"Bearer {token}"} if token else {}


def load(path: Path, context: str | None = None) -> Access:
    """Raises TidegateError naming the file and the entry that is missing or wrong."""
    document = _read(path)
    name = context or document.get("current-context")
    if not name:
        raise TidegateError(f"{path}: no context was given and current-context is not set")
    chosen = _entry(path, document, "contexts", "context", str(name))
    cluster = _entry(path, document, "clusters", "cluster", str(chosen.get("cluster")))
    user = _entry(path, document, "users", "user", str(chosen["user"])) if chosen.get("user") else {}
    for plugin in ("exec", "auth-provider"):
        if plugin in user:
            raise TidegateError(
                f"{path}: user {chosen['user']!r} uses {plugin}; a token or a client certificate is read"
            )
    server = str(cluster.get("server") or "").rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise TidegateError(f"{path}: cluster {chosen.get('cluster')!r}: server must be an http(s) URL, got {server!r}")
    tls = _tls(path, cluster, user) if server.startswith("https://") else None
    token, token_file = _token(path, user)
    return Access(server, tls, token, cluster.get("tls-server-name"), token_file)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise TidegateError(f"{path}: cannot read the kubeconfig: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise TidegateError(f"{path}: larger than {_MAX_BYTES} bytes, so no kubeconfig")
    try:
        document = boundedyaml.load(data)
    except (yaml.YAMLError, ValueError) as error:
        raise TidegateError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise TidegateError(f"{path}: expected a kubeconfig with clusters, users and contexts")
    return document


def _entry(path: Path, document: dict[str, Any], section: str, member: str, name: str) -> dict[str, Any]:
    entries = document.get(section)
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(member), dict):
            found: dict[str, Any] = entry[member]
            return found
    raise TidegateError(f"{path}: no {member} named {name!r} in {section}")


def _material(path: Path, entry: dict[str, Any], name: str) -> bytes | None:
    """``<name>-data`` in base64, or the file that ``<name>`` names, relative to the kubeconfig."""
    if data := entry.get(f"{name}-data"):
        try:
            return base64.b64decode(str(data), validate=True)
        except binascii.Error as error:
            raise TidegateError(f"{path}: {name}-data is not base64: {error}") from error
    if not entry.get(name):
        return None
    file = path.parent / str(entry[name])
    try:
        return file.read_bytes()
    except OSError as error:
        raise TidegateError(f"{path}: {name} {file}: {error.strerror}") from error


def _tls(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    authority = _material(path, cluster, "certificate-authority")
    try:
        context = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if cluster.get("insecure-skip-tls-verify") is True:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        certificate, key = _material(path, user, "client-certificate"), _material(path, user, "client-key")
        if certificate and key:
            _load_pair(context, certificate, key)
    except (ssl.SSLError, ValueError) as error:
        raise TidegateError(f"{path}: its certificates or keys cannot be used: {error}") from error
    return context


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """The ssl module reads pairs from files only: a private one, gone at once."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        context.load_cert_chain(file.name)


def _token(path: Path, user: dict[str, Any]) -> tuple[str, Path | None]:
    """The token, or the file that holds it, which must be there."""
    if user.get("token"):
        return str(user["token"]), None
    if not user.get("tokenFile"):
        return "", None
    file = path.parent / str(user["tokenFile"])
    try:
        return file.read_text().strip(), file
    except OSError as error:
        raise TidegateError(f"{path}: tokenFile {file}: {error.strerror}") from error
