"""Samples of the agents."""

from __future__ import annotations

from agents.models import Agent
from arcweb.samples.registry import Sampler, register_sampler


def take() -> dict[str, float]:
    return {"total": Agent.objects.count()}


register_sampler(Sampler("agents", take))
