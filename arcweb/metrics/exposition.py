"""What Prometheus reads: this process's own metrics, how the servers stand, and what sources give."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from functools import cache

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.utils.module_loading import autodiscover_modules
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from arcweb import servers
from arcweb.metrics import sampled  # noqa: F401 - registers itself
from arcweb.metrics.registry import Metric, Source, sources
from arcweb.postgres import TooSlow, limited

logger = logging.getLogger(__name__)
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


@cache
def discover() -> None:
    """Have every app's metrics.py register what it has."""
    autodiscover_modules("metrics")


def exposition() -> bytes:
    """The text format. Never raises for a server that is away, or a source that fails."""
    discover()
    stack = CollectorRegistry(auto_describe=False)
    stack.register(_Stack())
    return generate_latest(own_metrics()) + generate_latest(stack)


def own_metrics() -> CollectorRegistry:
    """Those of requests: one process serves them; where there are several, they share a folder."""
    if not settings.PROMETHEUS_MULTIPROC_DIR:
        return REGISTRY
    several = CollectorRegistry(auto_describe=False)
    MultiProcessCollector(several, settings.PROMETHEUS_MULTIPROC_DIR)
    return several


class _Stack(Collector):
    def collect(self) -> Iterator[Family]:
        metrics: dict[str, Metric] = {}
        answered: list[tuple[dict[str, str], float]] = []
        postgres: bool | None = None
        for source in sources():
            found = _read(source)
            answered.append(({"source": source.name}, float(found is not None)))
            if "postgres" in source.needs and found is not None:
                postgres = True
            for metric in found or ():
                metrics.setdefault(metric.name, metric)
        yield from map(_family, metrics.values())
        yield _family(
            Metric("arc_metrics_source_up", "1 when a source of metrics answered.", tuple(answered))
        )
        ups = {state.name: state.up for state in servers.states()}
        if ups["postgres"] is None:
            ups["postgres"] = postgres
        known = tuple(({"server": str(name)}, float(up)) for name, up in ups.items() if up is not None)
        yield _family(Metric("arc_up", "1 for a server or process that answers; missing: unknown.", known))


def _read(source: Source) -> list[Metric] | None:
    """None when it could not be asked, or did not answer in time."""
    if servers.away(source.needs):
        return None
    try:
        if "postgres" in source.needs:
            with limited(source.limit):
                return list(source.read())
        return list(source.read())
    except (DatabaseError, InterfaceError, TooSlow) as error:
        logger.warning("No metrics of %s: %s", source.name, str(error).partition("\n")[0])
    except Exception:  # one source that is broken must not hide the others
        logger.exception("The metrics of %s failed", source.name)
    return None


def _family(metric: Metric) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    names: Iterable[str] = metric.values[0][0] if metric.values else ()
    family = kind(metric.name, metric.help, labels=list(names))
    for labels, value in metric.values:
        family.add_metric(list(labels.values()), value)
    return family
