"""The README says what is there: every setting, every command, every table."""

import re
from collections.abc import Iterator

import pytest
import typer.main
from pydantic import AliasChoices

from zl_assets.cli import app
from zl_assets.core.features.full_surface import stored_columns
from zl_assets.core.features.registry import FAMILIES
from zl_assets.settings import Settings
from zl_assets.warehouse.contracts import contracts
from zl_assets.warehouse.surfaces import listed_features
from zl_assets_tests.conftest import PROJECT

README = (PROJECT / "README.md").read_text(encoding="utf-8")


def setting_names() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        yield str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"ZL_{name.upper()}"


@pytest.mark.parametrize("variable", list(setting_names()))
def test_every_setting_is_in_the_configuration_table(variable: str) -> None:
    assert re.search(rf"^\| `{variable}` \|", README, re.MULTILINE)


def test_the_configuration_table_names_no_other_variable() -> None:
    assert set(re.findall(r"^\| `([A-Z]+_\w+)` \|", README, re.MULTILINE)) == set(setting_names())


def test_every_command_and_option_is_in_the_table_of_commands() -> None:
    for name, command in typer.main.get_command(app).commands.items():  # pyright: ignore[reportAttributeAccessIssue]
        row = re.search(rf"^\| `zl {name}\b.*$", README, re.MULTILINE)
        assert row, name
        missing = [o for p in command.params for o in p.opts if o.startswith("--") and o not in row[0]]
        # --home and --data are explained once, in the configuration table.
        assert set(missing) <= {"--help", "--home", "--data"}, (name, missing)


def test_every_dataset_of_a_table_is_described() -> None:
    for name in contracts():
        assert name.split(".")[0] in README, name


def test_the_size_of_the_production_surface_is_told_as_it_is() -> None:
    families = {line.family for line in listed_features()}
    assert f"{len(listed_features())} features of {len(families)} families" in README
    unlisted = ", ".join(family.name for family in FAMILIES if family.name not in families)
    assert f"({unlisted}) are declared and tested, and on no surface" in README
    beside = len(stored_columns({line.feature for line in listed_features()}))
    assert f"{beside:,} columns beside the production ones" in README


def test_no_placeholder_is_left() -> None:
    assert not re.search(r"\b[A-Z]+_TABLE\b|\bBENCHMARKS\b|TODO", README)
