"""Figures for Prometheus: what was asked, how long it took, what was done, what is in memory.

No label holds a key, a name that a user chose, or anything of the data.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, Response
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from tinker_engine.runtime.engine import Engine
from tinker_engine.runtime.status import free_bytes

PATH = "/metrics"
_PREFIX = "tinker_engine_"
# Seconds; a long poll lasts 30.
_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 31.0)


# A second series for each counter that says when it began; nobody asked for it.
disable_created_metrics()


class Metrics:
    """The figures of one server."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            f"{_PREFIX}requests",
            "HTTP requests by method, route and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            f"{_PREFIX}request_seconds",
            "Time from the first byte of a request to the last of its answer.",
            ("route",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.in_progress = Gauge(
            f"{_PREFIX}requests_in_progress",
            "HTTP requests that are being answered, long polls among them.",
            registry=self.registry,
        )
        self.registry.register(EngineFigures(engine))
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """The figures of this moment in Prometheus' text format."""
        return generate_latest(self.registry)


class EngineFigures(Collector):
    """Reads the engine when it is asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        """The engine's figures now."""
        engine = self._engine
        usage = engine.usage
        yield _counter("tokens", "Tokens of finished requests.", ("what",), _single(usage.tokens()))
        yield _counter(
            "finished",
            "Finished requests by kind and by how they ended.",
            ("kind", "ended"),
            usage.finished(),
        )
        yield _counter(
            "refusals", "Requests refused for a quota.", ("quota",), _single(usage.refusals())
        )
        for name, told, value in (
            ("queue_depth", "Training jobs and sampling batches in line.", engine.queue.depth()),
            ("runs_loaded", "Training runs in memory.", engine.runs.count()),
            ("samplers_open", "Open sampling sessions.", engine.samplers.count()),
            ("tokens_in_flight", "Tokens of unfinished requests.", usage.in_flight()),
            ("disk_free_bytes", "Free space where the home is.", free_bytes(engine.config.home)),
        ):
            yield GaugeMetricFamily(_PREFIX + name, told, value=value)


def metrics_routes(metrics: Metrics) -> APIRouter:
    """The one route."""
    router = APIRouter()

    @router.get(PATH)
    def read_metrics() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router


def _single(values: dict[str, int]) -> dict[tuple[str, ...], int]:
    return {(name,): value for name, value in values.items()}


def _counter(
    name: str, told: str, labels: tuple[str, ...], values: dict[tuple[str, ...], int]
) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, told, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family
