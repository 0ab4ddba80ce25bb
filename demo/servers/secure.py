"""Real nginx with TLS; the key and the certificate are made at the start and never leave the working folder."""

import os
import subprocess
from pathlib import Path

from pages import run

HOST = os.environ.get("SITE", "www.site-a.example")


def make_certificate() -> None:
    os.umask(0o077)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    files = ["-days", "30", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*command, *names, *files], check=True, timeout=30, capture_output=True)


def main() -> None:
    make_certificate()
    Path("www").mkdir(exist_ok=True)
    Path("www/index.html").write_text(f"{HOST} over TLS\n")
    root = Path("www").absolute()
    run(f"  server {{ listen 443 ssl; ssl_certificate cert.pem; ssl_certificate_key key.pem; root {root}; }}\n")


if __name__ == "__main__":
    main()
