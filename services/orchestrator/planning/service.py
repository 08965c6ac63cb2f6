"""The planner: reads the study, looks up what serves and what past runs of that model used, and plans."""

import asyncio
from collections.abc import Sequence

from services.common.artifacts import ArtifactStore
from services.common.errors import ValignError
from services.orchestrator.assets import AssetLibrary
from services.orchestrator.documents import parse_document
from services.orchestrator.looks import Probe, ServiceFacts
from services.orchestrator.planning.document import Plan, PlanRequest
from services.orchestrator.planning.past import past_of
from services.orchestrator.planning.plan import Served, make_plan
from services.orchestrator.planning.reading import read_given, resolved_study
from services.orchestrator.ports import RunStore
from services.orchestrator.study import ResolvedStudy

_NOTHING = ServiceFacts(serving=False)


class Planner:
    """The application's part that plans. It starts nothing, and a service that is away is no error."""

    def __init__(
        self,
        store: RunStore,
        artifacts: ArtifactStore,
        assets: AssetLibrary,
        probes: Sequence[Probe],
        timeout_s: float,
        window: int = 0,
    ) -> None:
        """``window``: most items of a call that one of several generators is given at once; 0: no limit."""
        self._store = store
        self._artifacts = artifacts
        self._assets = assets
        self._probes = {probe.name: probe for probe in probes}
        self._timeout_s = timeout_s
        self._window = window

    async def plan(self, text: str | bytes) -> Plan:
        """A plan of the request (YAML or JSON, see ``PlanRequest``).

        InvalidInputError: the request, its study, or a shape or device in it is wrong.
        """
        request = await asyncio.to_thread(parse_document, text, PlanRequest)
        resolved = await asyncio.to_thread(resolved_study, request)
        await self._assets.require(resolved.as_json())
        generator, second = await asyncio.gather(self._look("generator"), self._look("second_embedder"))
        return await asyncio.to_thread(self._planned, request, resolved, generator, second)

    def _planned(
        self, request: PlanRequest, resolved: ResolvedStudy, generator: ServiceFacts, second: ServiceFacts
    ) -> Plan:
        given = read_given(self._artifacts, resolved.study, second_encoder=second.serving)
        served = Served(generator.max_model_len, generator.max_lora_rank, generator.device)
        past = past_of(self._store, generator.fingerprint)
        return make_plan(request, resolved, given, past, served, self._window)

    async def _look(self, name: str) -> ServiceFacts:
        probe = self._probes.get(name)
        if probe is None:
            return _NOTHING
        try:
            async with asyncio.timeout(self._timeout_s):
                return await probe.look()
        except (ValignError, TimeoutError):
            return _NOTHING
