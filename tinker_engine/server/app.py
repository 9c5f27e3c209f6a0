"""The FastAPI application of one engine."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request, Response

from tinker_engine.errors import RequestError
from tinker_engine.protocol.openai_errors import PREFIX as OPENAI_PREFIX
from tinker_engine.runtime.engine import Engine
from tinker_engine.server.answers import FailureGuard, install_error_handlers
from tinker_engine.server.auth import OPEN_PATHS, KeyGuard
from tinker_engine.server.catalog_routes import catalog_routes
from tinker_engine.server.checkpoint_routes import checkpoint_routes
from tinker_engine.server.extension_routes import extension_routes
from tinker_engine.server.future_routes import future_routes
from tinker_engine.server.keyring import Keyring
from tinker_engine.server.links import LinkSigner
from tinker_engine.server.metrics import PATH as METRICS
from tinker_engine.server.metrics import Metrics, metrics_routes
from tinker_engine.server.openai_routes import openai_routes
from tinker_engine.server.openapi import describe
from tinker_engine.server.request_watch import RequestWatch
from tinker_engine.server.sampling_routes import sampling_routes
from tinker_engine.server.service_routes import service_routes
from tinker_engine.server.slot_routes import slot_routes
from tinker_engine.server.training_routes import training_routes

PREFIX = "/api/v1"

_ONE_OWNER = "a server of one's own has no organisations, projects or bills"
_KEY_ITSELF = "set TINKER_API_KEY to the server's key; it needs no login"
# Routes that SDKs know and this server does not offer, each with what to do instead.
NOT_SERVED: dict[tuple[str, str], str] = {
    ("POST", "/create_custom_loss"): "use forward_backward_custom with a loss on the client",
    ("POST", "/auth/token"): _KEY_ITSELF,
    ("GET", "/auth/apikey/me"): _KEY_ITSELF,
    ("DELETE", "/auth/apikey/me"): "the key lives as long as the server that was started with it",
    ("POST", "/sessions/search"): "page through GET sessions (list_sessions) and filter there",
    ("PUT", "/sessions/{session_id}/project"): _ONE_OWNER,
    ("GET", "/sessions/{session_id}/trace_export"): "trace on the client; no timelines are kept",
    ("GET", "/audit"): _ONE_OWNER,
    ("GET", "/billing/usage/events"): _ONE_OWNER,
    ("GET", "/billing/usage/checkpoints/current"): (
        f"{_ONE_OWNER}; checkpoint sizes are in GET checkpoints (list_user_checkpoints)"
    ),
}


def create_app(engine: Engine, keys: Keyring) -> FastAPI:
    """The application that serves `engine` to clients that hold one of the keys."""
    app = FastAPI(
        title="tinker-engine",
        docs_url=None,
        redoc_url=None,
        max_body_size=engine.config.max_body_bytes,
        # Requests hold what users train on; none of it goes to a tracing backend by accident.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    install_error_handlers(app)
    links = LinkSigner()
    # Routes are tried in this order, so the busiest come first.
    for make in (
        sampling_routes,
        future_routes,
        training_routes,
        service_routes,
        catalog_routes,
        extension_routes,
        slot_routes,
    ):
        app.include_router(make(engine), prefix=PREFIX)
    app.include_router(checkpoint_routes(engine, links), prefix=PREFIX)
    app.include_router(openai_routes(engine), prefix=OPENAI_PREFIX)
    app.include_router(_not_served(), prefix=PREFIX)
    metrics = Metrics(engine)
    app.include_router(metrics_routes(metrics))
    open_paths = OPEN_PATHS | ({METRICS} if engine.config.metrics_open else frozenset())
    describe(app)
    app.add_middleware(FailureGuard)
    app.add_middleware(KeyGuard, keys=keys, links=links, open_paths=open_paths)
    app.add_middleware(RequestWatch, metrics=metrics)
    return app


def _not_served() -> APIRouter:
    router = APIRouter(include_in_schema=False)

    def refuse(advice: str, name: str) -> None:
        async def answer(request: Request) -> Response:
            raise RequestError(f"{request.url.path} is not served by this engine: {advice}")

        method, path = name.split(" ")
        router.add_api_route(path, answer, methods=[method])

    for (method, path), advice in NOT_SERVED.items():
        refuse(advice, f"{method} {path}")
    return router
