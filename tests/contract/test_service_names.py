"""What a service may be called: its name is a host name beside those of the stack."""

import pytest
import yaml
from contract_bench import ROOT, brief, edited, place, resolve_yaml, shop_yaml

from sagagen.contract.services import LONGEST_NAME, RESERVED_NAMES

COMPOSE = yaml.safe_load((ROOT / "generated" / "deploy" / "compose.yaml").read_text())
NAME = "«payment: { implements"


def named(name: str) -> str:
    text = edited(shop_yaml(), (("payment: { implements", NAME),))
    return text.replace("payment/", f"{name}/").replace(NAME, NAME.replace("payment", name))


def test_no_service_has_the_name_of_one_of_the_stack() -> None:
    others = COMPOSE["services"].keys() - {"order", "inventory", "payment"}
    assert others <= RESERVED_NAMES.keys()
    assert {"redis", "grafana"} <= others


@pytest.mark.parametrize("name", [*RESERVED_NAMES, "a" * (LONGEST_NAME + 1)])
def test_a_name_that_cannot_be_had_is_refused_with_the_reason(name: str) -> None:
    text = named(name)
    _, found = resolve_yaml(text)
    assert brief(found) == [(place(text), "SG027")]
    assert found[0].message.startswith(f'a service cannot be named "{name}": ')


@pytest.mark.parametrize("name", ["a" * LONGEST_NAME, "redis_cache", "the_gateway", "on"])
def test_any_other_name_will_do(name: str) -> None:
    mesh, found = resolve_yaml(named(name))
    assert found == ()
    assert mesh is not None
