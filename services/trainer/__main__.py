"""The trainer service: ``python -m services.trainer``."""

import asyncio

from services.common.lifecycle import run_service
from services.common.logs import configure_logging
from services.common.pb.trainer.v1 import trainer_pb2_grpc
from services.common.rpc.fence import Fence
from services.common.settings import load_settings
from services.trainer.jobs import JobRunner
from services.trainer.servicer import SERVICE_NAME, TrainerServicer
from services.trainer.settings import TrainerSettings


async def _serve(settings: TrainerSettings) -> None:
    runner = JobRunner(settings)

    await run_service(
        name="trainer",
        settings=settings,
        service_names=(SERVICE_NAME,),
        register=lambda server: trainer_pb2_grpc.add_TrainerServiceServicer_to_server(
            TrainerServicer(runner), server
        ),
        start=runner.run,
        stop=runner.wait_closed,
        fence=Fence(settings.state_dir / "epochs.json"),
    )


def main() -> None:
    """Read the settings, serve until SIGTERM or SIGINT."""
    settings = load_settings(TrainerSettings)
    configure_logging("trainer", settings.log_level, settings.log_format)
    asyncio.run(_serve(settings))


if __name__ == "__main__":
    main()
