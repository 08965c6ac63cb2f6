"""Builds what speaks to the generator, one replica or a fleet. It knows the concrete classes."""

from collections.abc import Collection, Sequence

import grpc

from services.common.errors import InternalError
from services.common.rpc.client import open_channel
from services.common.rpc.fence import epoch_metadata
from services.orchestrator.clients.discovery import Address, Discovery, is_many
from services.orchestrator.clients.fleet.fleet import Fleet, FleetReplicas, FleetTraffic
from services.orchestrator.clients.fleet.generator import FleetGenerator
from services.orchestrator.clients.fleet.probe import FleetProbe
from services.orchestrator.clients.generator import GrpcGenerator
from services.orchestrator.clients.patience import OnWaiting, Patience, no_one_told
from services.orchestrator.clients.probe import GrpcProbe, describe_generator
from services.orchestrator.clients.replica import GrpcReplica
from services.orchestrator.clients.traffic import GrpcTraffic
from services.orchestrator.looks import Probe
from services.orchestrator.monitor.live.records import Traffic
from services.orchestrator.registry.ports import Replica
from services.orchestrator.settings import OrchestratorSettings


class Generators:
    """The generator's replicas, for runs, monitors, the registry and people who ask what is there.

    Args:
        settings: where they are.
        shown: what is shown to them; None speaks in the clear.
    """

    def __init__(self, settings: OrchestratorSettings, shown: grpc.ChannelCredentials | None) -> None:
        targets = settings.replica_targets
        self._window = settings.generator_window
        self._fleet: Fleet | None = None
        self._channel: grpc.aio.Channel | None = None
        self.replicas: Sequence[Replica]
        self.traffic: Collection[Traffic]
        self.probe: Probe
        if is_many(targets):

            def opened(address: Address) -> grpc.aio.Channel:
                return open_channel(address.target, shown, server_name=address.server_name)

            self._fleet = Fleet(Discovery(",".join(targets), every_s=0.0), opened)
            self.replicas = FleetReplicas(self._fleet)
            self.traffic = FleetTraffic(self._fleet)
            self.probe = FleetProbe("generator", ",".join(targets), self._fleet)
        else:
            [target] = targets
            self._channel = open_channel(target, shown)
            self.replicas = [GrpcReplica(target, self._channel, metadata=epoch_metadata)]
            self.traffic = [GrpcTraffic(target, self._channel)]
            self.probe = GrpcProbe("generator", target, self._channel, describe_generator)

    def client(
        self, patience: Patience, on_waiting: OnWaiting = no_one_told, fingerprint: str = ""
    ) -> GrpcGenerator | FleetGenerator:
        """The generator port, for one run or one measurement; ``fingerprint`` is of the base model that it
        began with, empty if it has yet to begin."""
        if self._fleet is not None:
            return FleetGenerator(self._fleet, patience, on_waiting, self._window, fingerprint)
        if self._channel is None:
            raise InternalError("the generators have neither a fleet nor a channel")
        return GrpcGenerator(self._channel, patience, on_waiting)

    async def start(self) -> None:
        """Find the replicas. None has to be there."""
        if self._fleet is not None:
            await self._fleet.start()

    async def aclose(self) -> None:
        """End the connections."""
        if self._fleet is not None:
            await self._fleet.aclose()
        if self._channel is not None:
            await self._channel.close()
