"""Reading variables: a bad value is a sentence that names the variable and shows a good one."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from arcweb.environment import Environment


@pytest.fixture
def env() -> Environment:
    return Environment(None)


def test_an_unset_variable_has_its_default(env: Environment) -> None:
    assert env.text("ARC_TEST", "red") == "red"
    assert env.integer("ARC_TEST", 3, low=1, high=9) == 3
    assert env.number("ARC_TEST", 0.5, low=0, high=1) == 0.5
    assert env.flag("ARC_TEST", default=True) is True
    assert env.words("ARC_TEST", ["a"]) == ["a"]


def test_values_are_read_as_their_type(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARC_TEST", " 7 ")
    assert env.text("ARC_TEST") == "7"
    assert env.integer("ARC_TEST", 3, low=1, high=9) == 7
    assert env.number("ARC_TEST", 3, low=1, high=9) == 7.0
    monkeypatch.setenv("ARC_TEST", "no")
    assert env.flag("ARC_TEST", default=True) is False
    monkeypatch.setenv("ARC_TEST", "a, b,,c")
    assert env.words("ARC_TEST", []) == ["a", "b", "c"]


@pytest.mark.parametrize("value", ["many", "3.5", "0", "10", ""])
def test_a_bad_integer_names_the_variable_and_a_good_value(
    env: Environment, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("ARC_TEST", value)
    with pytest.raises(ImproperlyConfigured, match=r"ARC_TEST.*A good value is ARC_TEST=3\."):
        env.integer("ARC_TEST", 3, low=1, high=9)


@pytest.mark.parametrize("value", ["much", "-1", "nan"])
def test_a_bad_number_names_the_variable(
    env: Environment, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("ARC_TEST", value)
    with pytest.raises(ImproperlyConfigured, match="ARC_TEST"):
        env.number("ARC_TEST", 0.5, low=0, high=1)


def test_a_bad_flag_and_a_bad_choice_say_what_is_allowed(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARC_TEST", "perhaps")
    with pytest.raises(ImproperlyConfigured, match="ARC_TEST=true"):
        env.flag("ARC_TEST", default=True)
    with pytest.raises(ImproperlyConfigured, match="'perhaps'; it must be one of blue, red"):
        env.text("ARC_TEST", "red", choices=["red", "blue"])


def test_name_file_holds_the_value(env: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-a-file-of-25-letters\n")
    monkeypatch.setenv("ARC_TEST_FILE", str(tmp_path / "secret"))
    assert env.secret("ARC_TEST") == "from-a-file-of-25-letters"


def test_a_missing_secret_file_is_a_sentence(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARC_TEST_FILE", "/nowhere/secret")
    with pytest.raises(ImproperlyConfigured, match="ARC_TEST"):
        env.secret("ARC_TEST")


@pytest.mark.parametrize("value", ["", "changeme", "PostgreS", "<strong-password>", "short-one"])
def test_a_default_or_short_secret_is_refused_and_not_shown(
    env: Environment, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("ARC_TEST", value)
    with pytest.raises(ImproperlyConfigured, match=r"ARC_TEST is .*make generate-secrets") as refusal:
        env.secret("ARC_TEST")
    assert not value or value not in str(refusal.value)


def test_the_environment_wins_over_the_dotenv_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("ARC_TEST_ONE=file\nARC_TEST_TWO=file\n")
    monkeypatch.setenv("ARC_TEST_ONE", "environment")
    monkeypatch.setenv("ARC_TEST_TWO", "")  # so that what the file brings is taken back afterwards
    monkeypatch.delenv("ARC_TEST_TWO")
    env = Environment(dotenv)
    assert (env.text("ARC_TEST_ONE"), env.text("ARC_TEST_TWO")) == ("environment", "file")
