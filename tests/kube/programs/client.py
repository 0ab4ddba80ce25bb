"""client.py URL: one request; prints its status, and what the server or the refusal said, as JSON."""

import http.client
import json
import sys
import urllib.error
import urllib.request

try:
    with urllib.request.urlopen(sys.argv[1], timeout=20) as answer:
        said = {"status": answer.status, "headers": dict(answer.headers), "body": json.loads(answer.read())}
except urllib.error.HTTPError as error:
    said = {"status": error.code, "headers": dict(error.headers), "body": error.read().decode()}
except (OSError, http.client.HTTPException) as error:
    said = {"status": 0, "headers": {}, "body": str(error)}
print(json.dumps(said))
