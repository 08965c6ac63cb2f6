"""What people are told of an embedder with several replicas."""

import pytest

from services.common.errors import NotReadyError, PreconditionError
from services.orchestrator.clients.embedder_probe import EmbedderProbe
from tests.fakes.embedder_replicas import fake_replicas, pool_of
from tests.fakes.fake_embedder import FINGERPRINT


async def test_look_some_replicas_serve_says_so() -> None:
    async with fake_replicas(3) as replicas, pool_of(*replicas) as pool:
        await replicas[0].kill()
        replicas[1].embedder.serving = False
        probe = EmbedderProbe("embedder", "a,b,c", pool)
        facts = await probe.look()
        assert (probe.target, facts.serving, facts.fingerprint) == ("a,b,c", True, FINGERPRINT)
        replicas[2].embedder.serving = False
        assert not (await probe.look()).serving


async def test_look_no_replica_can_be_reached_is_not_ready() -> None:
    async with fake_replicas(2) as replicas, pool_of(*replicas) as pool:
        for replica in replicas:
            await replica.kill()
        with pytest.raises(NotReadyError, match="none of 2 replicas"):
            await EmbedderProbe("embedder", "a,b", pool).look()


async def test_look_two_encoders_is_refused_and_names_both() -> None:
    async with fake_replicas(2) as replicas, pool_of(*replicas) as pool:
        replicas[1].embedder.fingerprint = "b" * 64
        with pytest.raises(PreconditionError) as raised:
            await EmbedderProbe("embedder", "a,b", pool).look()
        assert all(replica.target in raised.value.message for replica in replicas)
