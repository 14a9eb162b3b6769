"""Samples of the catalogue, for the verdict of the overview and its charts."""

from __future__ import annotations

from arcweb.backups.telling import figures
from arcweb.samples.registry import Sampler, register_sampler

register_sampler(Sampler("backups", figures))
