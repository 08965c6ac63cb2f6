"""vLLM's own OpenAI-compatible server as an ASGI application, on the engine that ``VllmEngine`` runs.

The second module that imports vLLM: it holds vLLM's server, as ``engine.py`` holds its engine. What answers
is vLLM's, unchanged; its table of models is replaced, and what the face does itself is taken out: the other
routes, and the counting of HTTP requests. vLLM keeps adapters by name and loads them from a path by itself;
here the request's own lease says which adapter it is (``exchange.CURRENT``), so that there is no second table
that could be behind. Names checked against vLLM 0.32.
"""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

from starlette.types import Receive, Scope, Send

from services.common.errors import NotReadyError, PreconditionError
from services.generator.engine import VllmEngine, lora_request
from services.generator.serving.engine_client import EngineClient
from services.generator.serving.exchange import CURRENT, Exchange
from services.generator.serving.face import PASSED

# As ``prompting.render_prompt`` writes a conversation for a tokenizer without a template.
PLAIN_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}User: {% elif message['role'] == 'assistant' %}Assistant: {% endif %}"
    "{{ message['content'] }}\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


class OpenAIApp:
    """Calls go to the engine of the last ``attach``; NotReadyError after ``detach``."""

    def __init__(self, engine: VllmEngine, base_name: str) -> None:
        """``base_name``: the base model's public name."""
        self._engine = engine
        self._base_name = base_name
        self._app: Any = None
        self._client: EngineClient | None = None
        self._attached = False

    async def attach(self) -> None:
        """Serve the engine that runs now. PreconditionError: it generates no text."""
        llm = self._engine.llm
        tasks = tuple(await llm.get_supported_tasks())
        if "generate" not in tasks:
            raise PreconditionError(
                f"the model {self._base_name} generates no text (vLLM: {', '.join(tasks)})"
            )
        if self._app is None:
            # Seconds of imports.
            self._app = await asyncio.to_thread(self._build)
        from vllm.entrypoints.launchers.api_server.app_state import init_app_state

        state = self._app.state
        # Not an EngineClient by class, and all of it by its methods.
        self._client = EngineClient(llm, self._engine.stop_token_ids)
        client: Any = self._client
        await init_app_state(client, state, state.args, ("generate",))
        # vLLM's handler of a dead engine tells its server to exit; ours is started again by the supervisor.
        state.server = SimpleNamespace(should_exit=False)
        _resolve_by_lease(state.openai_serving_models)
        self._attached = True

    def detach(self) -> None:
        """Let go of an engine that is no more: what vLLM's server holds would keep its memory."""
        self._attached = False
        if self._client is not None:
            self._client.let_go()
            self._client = None
        if self._app is not None:
            from starlette.datastructures import State

            kept = {"args": self._app.state.args, "server": SimpleNamespace(should_exit=False)}
            self._app.state = State(kept)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        self.check()
        await self._app(scope, receive, send)

    def check(self) -> None:
        """NotReadyError while no engine is attached: one that runs is, a moment later."""
        if not self._attached:
            raise NotReadyError("the engine is not running; it is loading or starting again")

    def _build(self) -> Any:
        from vllm.entrypoints.launchers.app import build_app
        from vllm.entrypoints.launchers.cli_args import make_arg_parser
        from vllm.utils.argparse_utils import FlexibleArgumentParser

        parser: Any = FlexibleArgumentParser
        arguments = make_arg_parser(parser()).parse_args(
            ["--model", self._engine.info.model, "--disable-fastapi-docs"]
        )
        arguments.served_model_name = [self._base_name]
        arguments.disable_log_stats = True
        if not self._engine.info.has_chat_template:
            arguments.chat_template = PLAIN_TEMPLATE
        root = logging.getLogger()
        level = root.level
        try:
            return _lean(build_app(arguments, ("generate",), None))
        finally:
            # Something in there sets it to ERROR for the whole process.
            root.setLevel(level)


def _lean(app: Any) -> Any:
    """Without what no request that the face lets through needs, and each would pay for.

    Routes are tried in turn, and vLLM's counting of requests is half as dear as the whole face, which counts
    them too.
    """
    from prometheus_fastapi_instrumentator.middleware import PrometheusInstrumentatorMiddleware

    paths = {path for _, path in PASSED}
    kept = [route for route in app.router.routes if getattr(route, "path", None) in paths]
    missing = paths - {route.path for route in kept}
    if missing:
        raise PreconditionError(f"this version of vLLM has no {', '.join(sorted(missing))}")
    app.router.routes[:] = kept
    app.user_middleware[:] = [
        one for one in app.user_middleware if one.cls is not PrometheusInstrumentatorMiddleware
    ]
    # vLLM has built it already; the first request builds it again.
    app.middleware_stack = None
    return app


class _LeasedAdapters(dict[str, Any]):
    """vLLM's table of adapters by name: it holds the one that the request of this moment has leased."""

    def __contains__(self, name: object) -> bool:
        exchange = CURRENT.get(None)
        return exchange is not None and exchange.hold.lease.lora is not None and name == exchange.model

    def __getitem__(self, name: str) -> Any:
        lora = CURRENT.get().hold.lease.lora
        if lora is None:
            raise KeyError(name)
        return lora_request(lora)


def _resolve_by_lease(models: Any) -> None:
    """Make vLLM's ``OpenAIServingModels`` ask the request's own exchange instead of its tables.

    The response's ``model`` is the name that was asked for.
    """

    def asked() -> Exchange:
        return CURRENT.get()

    models.lora_requests = _LeasedAdapters()
    models.is_base_model = lambda name: asked().hold.lease.lora is None and name == asked().model
    models.model_name = lambda _lora=None: asked().model
