"""Schedules drawn for the shop: a function of the seed alone, within the contract's rules, of all kinds of faults."""

import json
from collections import Counter

import pytest
from google.protobuf import json_format

from generated.mesh import MESH
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Direction
from sagagen.testing.samples import samples_of
from sagagen.testing.simulation.drawing import drawn
from sagagen.testing.simulation.inputs import Samples, written
from sagagen.testing.simulation.schedule import FaultKind
from sagagen.testing.simulation.subjects import Subject, subject
from sagagen.testing.virtual_time import BEGINNING_MS

SCHEMA = Schema(MESH.descriptors.read_bytes())
(PLACE_ORDER,) = MESH.sagas
SERVICES = [service.name for service in MESH.services]


def shop() -> Subject:
    return subject(PLACE_ORDER, SCHEMA, samples_of(MESH.root, SCHEMA, PLACE_ORDER), BEGINNING_MS // 1000)


def test_a_seed_gives_the_same_schedules_in_any_order() -> None:
    first = [drawn([shop()], SERVICES, 7, number) for number in range(4)]
    assert [drawn([shop()], SERVICES, 7, number) for number in (3, 2, 1, 0)] == first[::-1]
    assert len(set(first)) == 4
    assert drawn([shop()], SERVICES, 8, 0) != first[0]


def test_all_kinds_of_faults_strike_everywhere() -> None:
    schedules = [drawn([shop()], SERVICES, 1, number) for number in range(60)]
    faults = [fault for schedule in schedules for saga in schedule.sagas for fault in saga.faults]
    assert {fault.kind for fault in faults} == set(FaultKind)
    assert {fault.step for fault in faults} == {step.name for step in PLACE_ORDER.calls}
    undone = {fault.step for fault in faults if fault.direction is Direction.COMPENSATION}
    assert undone == {step.name for step in PLACE_ORDER.calls if step.compensation}
    assert not any(
        fault.kind is FaultKind.REFUSES and fault.direction is Direction.COMPENSATION for fault in faults
    )
    calm = [schedule for schedule in schedules if not any(saga.faults for saga in schedule.sagas)]
    assert 0 < len(calm) < len(schedules), "without weather only the handlers are to blame"
    assert {kill.process for schedule in schedules for kill in schedule.kills} == {"gateway", *SERVICES}


def test_inputs_keep_the_rules_and_meet_at_the_same_products() -> None:
    given = [saga.input for number in range(20) for saga in drawn([shop()], SERVICES, 3, number).sagas]
    samples = shop().samples
    for each in given:
        samples.encoded(each)  # raises what the contract refuses
    products = Counter(item["product_id"] for each in given for item in json.loads(each)["items"])
    assert products.keys() <= {"prod_1", "prod_2", "prod_3"}
    assert products["prod_1"] > products.total() / 2
    assert {len(json.loads(each)["items"]) for each in given} >= {1, 2}
    assert len(set(given)) > len(given) / 3


def test_an_input_is_simplified_towards_the_sample() -> None:
    samples = shop().samples
    given = written_of(samples, '{"product_id": "prod_2", "quantity": 7, "price": 1.5}', times=2)
    simpler = samples.simpler(given)
    sample = simpler[0]
    assert json.loads(sample)["customer_id"] == "cust_123"
    assert samples.simpler(sample) == [], "nothing is simpler than the sample"
    assert any(len(json.loads(each)["items"]) == 1 and "cust_2" in each for each in simpler)
    assert given not in simpler


def written_of(samples: Samples, item: str, *, times: int) -> str:
    message = samples.schema.message_type(samples.message)()
    json_format.Parse(f'{{"customer_id": "cust_2", "items": [{", ".join([item] * times)}]}}', message)
    return written(message)


def test_an_input_that_the_contract_refuses_is_not_sent() -> None:
    with pytest.raises(ValueError, match="items"):
        shop().samples.encoded('{"customer_id": "c"}')
    with pytest.raises(ValueError, match="no shop"):
        shop().samples.encoded('{"customer": "c"}')
