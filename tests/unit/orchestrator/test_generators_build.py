"""One replica or a fleet, as the settings name them."""

from services.common.rpc.client import open_channel
from services.orchestrator.clients.fleet.fleet import FleetReplicas
from services.orchestrator.clients.fleet.generator import FleetGenerator
from services.orchestrator.clients.generator import GrpcGenerator
from services.orchestrator.clients.patience import Patience
from services.orchestrator.clients.probe import GrpcProbe, describe_generator
from services.orchestrator.generators_build import Generators
from services.orchestrator.settings import OrchestratorSettings
from tests.fakes.fake_services import fake_services


async def test_one_fixed_address_is_the_plain_client() -> None:
    made = Generators(OrchestratorSettings(generator_target="127.0.0.1:1"), None)
    assert isinstance(made.client(Patience()), GrpcGenerator)
    assert [replica.target for replica in made.replicas] == ["127.0.0.1:1"]
    assert [replica.target for replica in made.traffic] == ["127.0.0.1:1"]
    await made.aclose()


async def test_two_addresses_are_a_fleet_for_runs_registry_and_people() -> None:
    async with fake_services() as one, fake_services() as two:
        made = Generators(OrchestratorSettings(generator_target=f"{one.target},{two.target}"), None)
        await made.start()
        client = made.client(Patience())
        assert isinstance(client, FleetGenerator)
        assert (await client.describe()).model == "fake/model"
        assert isinstance(made.replicas, FleetReplicas)
        both = {one.target, two.target}
        assert {replica.target for replica in made.replicas} == both
        assert {replica.target for replica in made.traffic} == both
        facts = await made.probe.look()
        assert facts.serving
        assert facts.model == "fake/model"
        alone = await GrpcProbe("generator", one.target, open_channel(one.target), describe_generator).look()
        assert facts == alone
        await made.aclose()
