"""Switches of the control plane, by Istio's environment variables."""

import pytest

from tidegate.kit import features
from tidegate.kit.errors import TidegateError


def test_defaults_are_istios() -> None:
    assert features.parse({}) == (features.DEFAULTS, ())


@pytest.mark.parametrize("word", ["true", "TRUE", "1", "t"])
def test_booleans_as_go_writes_them(word: str) -> None:
    assert features.parse({"ISTIO_DUAL_STACK": word})[0].dual_stack


def test_variables_that_are_not_acted_on_are_named() -> None:
    found, unknown = features.parse({"PILOT_B": "x", "HOME": "/root", "PILOT_HTTP10": "0"})
    assert (found, unknown) == (features.DEFAULTS, ("HOME", "PILOT_B"))


def test_a_value_that_is_no_boolean() -> None:
    with pytest.raises(TidegateError, match=r"PILOT_HTTP10: must be true or false \(got 'yes'\)"):
        features.parse({"PILOT_HTTP10": "yes"})


def test_every_variable_has_its_switch() -> None:
    for name, switch in features.VARIABLES.items():
        assert getattr(features.parse({name: "true"})[0], switch) is True
