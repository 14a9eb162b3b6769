"""Metrics for Prometheus at /metrics: the web process's own, and gauges of the stack.

An app adds gauges with `register_gauges`, in its metrics.py, which is imported at the first scrape.
"""

from arcweb.metrics.registry import Metric, register_gauges

__all__ = ["Metric", "register_gauges"]
