"""A look at the whole fleet, for people who ask what is there: ``GET /v1/system`` and ``valign doctor``."""

from services.common.errors import NotReadyError
from services.orchestrator.clients.fleet.fleet import Fleet
from services.orchestrator.clients.fleet.member import check_one_model
from services.orchestrator.looks import ServiceFacts


class FleetProbe:
    """Serving if any replica is; what it says of itself is the first one's word."""

    def __init__(self, name: str, target: str, fleet: Fleet) -> None:
        self.name = name
        self.target = target
        self._fleet = fleet

    async def look(self) -> ServiceFacts:
        """What the fleet saw last.

        Raises:
            PreconditionError: replicas serve different base models; it names them.
            NotReadyError: no replica serves.
        """
        serving = self._fleet.serving
        if not serving:
            raise NotReadyError(self._fleet.why_none())
        check_one_model(serving)
        info = serving[0].info_now()
        return ServiceFacts(
            serving=True,
            model=info.model,
            fingerprint=info.fingerprint,
            version=info.engine_version,
            device=info.device,
            max_model_len=info.max_model_len,
            max_lora_rank=info.max_lora_rank,
        )
