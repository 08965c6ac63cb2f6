"""Adapters and routes in a real MLflow registry, and promotions that are made there."""

from pathlib import Path

from services.common.errors import PreconditionError
from services.orchestrator.identity import Principal, Scope, acting_as
from services.orchestrator.registry.pruning import Pruner
from services.orchestrator.registry.records import AdapterState
from services.orchestrator.registry.retention import Retention
from services.orchestrator.registry.service import Registry
from services.orchestrator.store.outbox import announce
from services.orchestrator.tracking.versions import REFUSED_TAG
from tests.fakes.registry import fleet
from tests.integration.orchestrator.tracking.conftest import Place

S = AdapterState
BEN = Principal("key:ben", frozenset({Scope.APPROVE}))


def move_alias(place: Place, alias: str, version: str) -> None:
    """What somebody does on MLflow's page."""
    place.client.set_registered_model_alias(place.model, alias, version)


def served(place: Place, route: str = "valign") -> str | None:
    found = place.store.registry.routes.get(route)
    return None if found is None else found.adapter


async def two_versions(place: Place, **options: object) -> None:
    """Adapters a (version 1) and b (2), both candidates; the route serves a."""
    place.new_mirror(**options)
    await place.step()
    place.add_adapter("a")
    await place.registry.promote("a")
    await place.step()
    place.add_adapter("b")
    await place.step()
    assert place.aliases() == {"champion": "1", "candidate": "2"}


async def test_candidate_becomes_a_version_whose_files_can_be_fetched(place: Place) -> None:
    await place.step()
    place.create_run()
    place.add_adapter("a")
    place.add_adapter("trained", S.TRAINED)
    place.add_adapter("proven", S.PROVEN)
    await place.step()
    assert place.aliases() == {"candidate": "1"}
    version = place.version("1")
    record = place.store.registry.get("a")
    (run,) = place.runs()
    assert version.run_id == run.info.run_id
    tags = version.tags
    assert (tags["valign.adapter"], tags["valign.sha256"], tags["valign.state"]) == (
        "a",
        record.sha256,
        "candidate",
    )
    assert tags["valign.base_fingerprint"] == record.base_fingerprint
    import mlflow

    mlflow.set_tracking_uri(place.server.uri)
    local = mlflow.artifacts.download_artifacts(
        f"models:/{place.model}@candidate", dst_path=str(place.folder / "fetched")
    )
    weights = (Path(local) / "adapter_model.safetensors").read_bytes()
    assert weights == (place.folder / "made-a" / "adapter_model.safetensors").read_bytes()
    # As if a process had died after it made the version and before it noted it.
    place.store.platform.tracking.forget_model(place.model)
    place.new_mirror()
    await place.step()
    assert len(place.client.search_model_versions(f"name = '{place.model}'")) == 1
    assert place.aliases() == {"candidate": "1"}


async def test_promotion_and_roll_back_move_the_champion(place: Place) -> None:
    await two_versions(place)
    await place.registry.promote("b")
    await place.step()
    assert place.aliases() == {"champion": "2"}
    assert place.version("1").tags["valign.state"] == "retired"
    await place.registry.promote("b", "blue.green")
    await place.registry.roll_back()
    await place.step()
    aliases = place.aliases()
    assert aliases.pop("champion") == "1"
    ((name, version),) = aliases.items()
    assert name.startswith("champion-blue_green-")
    assert version == "2"
    await place.registry.roll_back()
    await place.step()
    assert "champion" not in place.aliases()


async def test_rejected_and_pruned_are_told(place: Place) -> None:
    await two_versions(place)
    await place.registry.reject("b", "it insults people")
    await place.step()
    assert place.aliases() == {"champion": "1"}
    assert place.version("2").tags["valign.state"] == "rejected"
    assert "insults people" in place.version("2").description
    assert place.store.registry.claim_pruning("b", "old", 5)
    await place.step()
    assert place.version("2").tags["valign.pruned"]


async def test_adapter_whose_mlflow_run_is_deleted_gets_a_run_of_its_own(place: Place) -> None:
    await place.step()
    place.create_run()
    await place.step()
    place.client.delete_run(place.runs()[0].info.run_id)
    place.add_adapter("a")
    await place.step()
    (run,) = place.runs()
    assert run.info.run_name == "a"
    assert place.version("1").run_id == run.info.run_id


async def test_adapter_on_an_object_store_is_named_by_its_uri(place: Place) -> None:
    await place.step()
    place.add_adapter("a", uri="s3://bucket/adapters/a")
    await place.step()
    assert place.version("1").source == "s3://bucket/adapters/a"


async def test_alias_that_is_moved_without_mirroring_back_is_put_back(place: Place) -> None:
    await two_versions(place)
    move_alias(place, "champion", "2")
    move_alias(place, "candidate", "1")
    await place.step()
    assert place.aliases() == {"champion": "1", "candidate": "2"}
    assert served(place) == "a"
    assert "not mirrored back" in place.version("2").tags[REFUSED_TAG]
    assert "the gate's word" in place.version("1").tags[REFUSED_TAG]
    place.client.delete_registered_model_alias(place.model, "champion")
    await place.step()
    assert place.aliases()["champion"] == "1"


async def test_promotion_made_in_mlflow_is_mirrored_back(place: Place) -> None:
    await two_versions(place, mlflow_mirror_back=True)
    move_alias(place, "champion", "2")
    await place.step()
    assert served(place) == "b"
    await place.step()
    assert place.aliases() == {"champion": "2"}
    history = place.store.registry.routes.history("valign")
    assert [(one.adapter, one.actor) for one in history] == [("a", "valign"), ("b", "mlflow")]
    (entry,) = [one for one in place.store.audit_log.entries() if one.actor == "mlflow"]
    assert (entry.action, entry.target) == ("adapter.promote", "b")
    # And back again, by the same way: it was promoted before.
    move_alias(place, "champion", "1")
    await place.step()
    assert served(place) == "a"
    for _ in range(2):
        await place.step()
    assert len(place.store.registry.routes.history("valign")) == 3


async def test_promotion_in_mlflow_that_valign_refuses_is_undone_and_said_so(place: Place) -> None:
    await two_versions(place, mlflow_mirror_back=True)
    place.add_adapter("c", approval_required=True)
    await place.step()
    move_alias(place, "champion", "3")
    await place.step()
    assert served(place) == "a"
    assert place.aliases()["champion"] == "1"
    assert "needs the approval of somebody other than key:ana" in place.version("3").tags[REFUSED_TAG]
    refused = [one for one in place.store.audit_log.entries() if one.action == "mlflow.refuse"]
    assert [one.target for one in refused] == ["c"]
    with acting_as(BEN):
        await place.registry.approve("c")
    move_alias(place, "champion", "3")
    await place.step()
    assert served(place) == "c"
    await place.step()
    assert place.version("3").tags[REFUSED_TAG] == ""
    assert "promoted" in place.version("3").description


async def test_promotion_in_mlflow_against_the_gate_is_refused(place: Place) -> None:
    await two_versions(place, mlflow_mirror_back=True)
    place.store.registry.move("b", S.REJECTED, "reject: worse than before")
    await place.step()
    move_alias(place, "champion", "2")
    await place.step()
    assert served(place) == "a"
    assert place.aliases() == {"champion": "1"}
    assert "is rejected" in place.version("2").tags[REFUSED_TAG]


async def test_promotion_in_mlflow_that_a_replica_does_not_prove_is_refused(place: Place) -> None:
    async with fleet(2) as generators:
        pruner = Pruner(place.store.registry, place.artifacts, Retention())
        await two_versions(place, mlflow_mirror_back=True)
        place.registry = Registry(place.store.registry, generators.replicas, pruner)
        place.new_mirror(mlflow_mirror_back=True)
        generators.generator(1).refuse_loads["b"] = PreconditionError("adapter b has no effect")
        move_alias(place, "champion", "2")
        await place.step()
        assert served(place) == "a"
        assert "b has no effect" in place.version("2").tags[REFUSED_TAG]


async def test_version_that_valign_did_not_make_is_refused(place: Place) -> None:
    await two_versions(place, mlflow_mirror_back=True)
    tags = dict(place.version("2").tags)
    place.client.create_model_version(
        place.model, "s3://elsewhere/adapter", tags=tags, description="of somebody else's"
    )
    move_alias(place, "champion", "3")
    await place.step()
    assert served(place) == "a"
    assert place.aliases()["champion"] == "1"
    assert "valign did not make version 3" in place.version("3").tags[REFUSED_TAG]
    assert place.version("3").description == "of somebody else's"


async def test_version_of_a_stranger_with_our_tags_is_not_taken_for_ours(place: Place) -> None:
    await place.step()
    place.client.create_registered_model(place.model)
    place.client.create_model_version(place.model, "s3://elsewhere/adapter", tags={"valign.adapter": "a"})
    place.add_adapter("a")
    await place.step()
    assert place.aliases() == {"candidate": "2"}


async def test_route_and_alias_that_move_at_the_same_time_follow_the_route(place: Place) -> None:
    await two_versions(place, mlflow_mirror_back=True)
    place.add_adapter("c")
    await place.step()
    await place.registry.promote("c")
    move_alias(place, "champion", "2")
    await place.step()
    assert served(place) == "c"
    assert place.aliases()["champion"] == "3"
    assert "at the same time" in place.version("2").tags[REFUSED_TAG]


async def test_first_promotion_can_be_made_in_mlflow(place: Place) -> None:
    place.new_mirror(mlflow_mirror_back=True)
    await place.step()
    place.add_adapter("a")
    await place.step()
    move_alias(place, "champion", "1")
    await place.step()
    assert served(place) == "a"


async def test_process_that_dies_while_it_moves_an_alias_takes_it_for_its_own(place: Place) -> None:
    await two_versions(place, mlflow_mirror_back=True)
    tracking = place.store.platform.tracking
    before = tracking.aliases(place.model)["champion"]
    await place.registry.promote("b")
    # It had noted what it was about to do, and done it; then the route went on.
    tracking.put_alias(type(before)(place.model, "champion", "1", "2", before.route_version))
    move_alias(place, "champion", "2")
    await place.registry.roll_back()
    place.new_mirror(mlflow_mirror_back=True)
    await place.step()
    assert served(place) == "a"
    assert place.aliases()["champion"] == "1"
    assert REFUSED_TAG not in place.version("2").tags


async def test_version_and_model_that_are_deleted_are_made_again_where_they_serve(place: Place) -> None:
    await two_versions(place)
    place.client.delete_model_version(place.model, "1")
    await place.step()
    await place.step()
    assert place.aliases() == {"champion": "3", "candidate": "2"}
    place.client.delete_registered_model(place.model)
    await place.step()
    await place.step()
    assert sorted(place.aliases()) == ["candidate", "champion"]
    names = {alias: place.version(number).tags["valign.adapter"] for alias, number in place.aliases().items()}
    assert names == {"champion": "a", "candidate": "b"}


async def test_outbox_is_read_to_its_end(place: Place) -> None:
    await place.step()
    outbox = place.store.platform.outbox
    with place.store._engine.begin() as connection:
        announce(connection, "adapter.promoted", "adapters/a")
    assert outbox.head() > (outbox.read_by("mlflow") or 0)
    await place.step()
    assert outbox.read_by("mlflow") == outbox.head()


async def test_many_steps_without_news_change_nothing(place: Place) -> None:
    await two_versions(place)
    before = (place.aliases(), place.version("1").last_updated_timestamp)
    for _ in range(3):
        await place.step()
    assert (place.aliases(), place.version("1").last_updated_timestamp) == before
