"""Key material never leaves, in whatever form and field a dump holds it."""

import base64
from typing import Any

import pytest

from tidegate.dump import commands
from tidegate.dump.redact import redact

PEM = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"
CHAIN = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


MASKED_BYTES = b64("[redacted]")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"private_key": {"inline_bytes": "c2VjcmV0"}}, {"private_key": {"inline_bytes": MASKED_BYTES}}),
        ({"privateKey": {"inlineString": "hush"}}, {"privateKey": {"inlineString": "[redacted]"}}),
        ({"privateKey": {"filename": "/etc/key.pem"}}, {"privateKey": {"filename": "/etc/key.pem"}}),
        ({"password": {"environmentVariable": "PASS"}}, {"password": {"environmentVariable": "PASS"}}),
        ({"password": "hush"}, {"password": "[redacted]"}),
        (
            {"sessionTicketKeys": {"keys": [{"inlineString": "a"}, {"inlineBytes": "Yg=="}]}},
            {"sessionTicketKeys": {"keys": [{"inlineString": "[redacted]"}, {"inlineBytes": MASKED_BYTES}]}},
        ),
        (
            {"generic_secret": {"secrets": {"token": {"inline_string": "hush"}}}},
            {"generic_secret": {"secrets": {"token": {"inline_string": "[redacted]"}}}},
        ),
        ({"certificateChain": {"inlineString": CHAIN + PEM}}, {"certificateChain": {"inlineString": "[redacted]"}}),
        (
            {"certificateChain": {"inlineBytes": b64(CHAIN + PEM)}},
            {"certificateChain": {"inlineBytes": MASKED_BYTES}},
        ),
    ],
)
def test_key_material_is_masked(given: Any, shown: Any) -> None:
    assert redact([{"a": given}]) == [{"a": shown}]


@pytest.mark.parametrize(
    "value",
    [
        {"certificateChain": {"inlineBytes": b64(CHAIN)}},
        {"inlineCode": {"inlineString": "function envoy_on_request() end"}},
        {"inlineBytes": "not base64"},
        {"secret": {"name": "default"}, "n": [1, None, True]},
    ],
)
def test_everything_else_is_as_it_was(value: Any) -> None:
    assert redact(value) == value


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_what_is_printed_is_redacted(output: str) -> None:
    listener = {"filterChains": [{"transportSocket": {"typedConfig": {"privateKey": {"inlineString": PEM}}}}]}
    text = commands.structured([listener], output)
    assert "PRIVATE KEY" not in text and "[redacted]" in text
