"""Real redis-server in the foreground on one port; it wants a password, which nobody here has."""

import os
import secrets
import sys

os.execv(
    "/usr/bin/redis-server",
    ["redis-server", "--port", sys.argv[1], "--bind", "0.0.0.0", "--requirepass", secrets.token_hex(), "--save", ""],
)
