"""Real nginx in the foreground: three pages on three ports, everything it writes below the working folder."""

import os
from pathlib import Path

PAGES = {8091: "2501", 8092: "2502", 8093: "2601"}
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def configuration(servers: str) -> str:
    """An nginx.conf for an ordinary user."""
    temporary = "".join(f"  {name}_temp_path {name};\n" for name in TEMPORARY)
    return (
        "daemon off;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr notice;\n"
        f"events {{ worker_connections 512; }}\nhttp {{\n  access_log off;\n{temporary}{servers}}}\n"
    )


def run(servers: str) -> None:
    """Become nginx with these server blocks."""
    Path("nginx.conf").write_text(configuration(servers))
    os.execv("/usr/sbin/nginx", ["nginx", "-p", f"{Path.cwd()}/", "-c", "nginx.conf", "-e", "stderr"])


def main() -> None:
    blocks = []
    for port, name in PAGES.items():
        folder = Path(name)
        folder.mkdir(exist_ok=True)
        (folder / "index.html").write_text(f"<title>nginx.ext.example</title>\nNginx {name} ~~\n")
        blocks.append(f"  server {{ listen {port}; keepalive_requests 100000; root {folder.absolute()}; }}\n")
    run("".join(blocks))


if __name__ == "__main__":
    main()
