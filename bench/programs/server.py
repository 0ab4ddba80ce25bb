"""nginx with one short answer, as an ordinary user."""

import os
from pathlib import Path

TEMPORARY = "".join(f"{name}_temp_path {name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
SERVER = 'server { listen 8000; keepalive_requests 1000000000; location / { return 200 "ok\\n"; } }'

Path("nginx.conf").write_text(
    "daemon off; worker_processes 1; pid nginx.pid; error_log stderr error; events { worker_connections 4096; }"
    f"http {{ access_log off; {TEMPORARY} {SERVER} }}"
)
os.execv("/usr/sbin/nginx", ["nginx", "-p", f"{Path.cwd()}/", "-c", "nginx.conf", "-e", "stderr"])
