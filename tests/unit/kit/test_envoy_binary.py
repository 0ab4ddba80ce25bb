"""Finding Envoy."""

import pytest

from tidegate.kit import envoy_binary


@pytest.fixture
def program(tmp_path):
    file = tmp_path / "envoy"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv(envoy_binary.VARIABLE, raising=False)


def test_installed_one_by_default():
    assert envoy_binary.find().name == "envoy"


def test_option_before_variable(program, monkeypatch):
    monkeypatch.setenv(envoy_binary.VARIABLE, "/nowhere")
    assert envoy_binary.find(str(program)) == program


def test_variable(program, monkeypatch):
    monkeypatch.setenv(envoy_binary.VARIABLE, str(program))
    assert envoy_binary.find() == program


def test_a_named_one_that_is_missing_is_an_error():
    with pytest.raises(envoy_binary.EnvoyNotFoundError, match="/nowhere/envoy is not a file"):
        envoy_binary.find("/nowhere/envoy")


def test_not_executable(program):
    program.chmod(0o644)
    with pytest.raises(envoy_binary.EnvoyNotFoundError, match="not executable"):
        envoy_binary.find(str(program))


def test_package_missing(monkeypatch):
    monkeypatch.setattr(envoy_binary, "DISTRIBUTION", "no-such-distribution-here")
    with pytest.raises(envoy_binary.EnvoyNotFoundError, match="not installed"):
        envoy_binary.find()
