"""Embedding providers: one interface, chosen by ARC_EMBEDDING_PROVIDER."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from memories.model_client import is_reachable
from memories.providers.base import (
    Provider,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRefusedError,
    ProviderUnavailableError,
)

__all__ = [
    "Provider",
    "ProviderError",
    "ProviderMisconfiguredError",
    "ProviderRefusedError",
    "ProviderUnavailableError",
    "get_provider",
    "load_model_here_if_alone",
]


@cache
def _provider(name: str) -> Provider:
    if name == "openai":
        from memories.providers.openai import OpenAIProvider

        return OpenAIProvider.from_settings()
    from memories.providers.local import LocalProvider

    return LocalProvider(settings.ARC_MODEL_SERVER)


def get_provider() -> Provider:
    """The provider that the settings name; its heavy libraries are loaded on first use only."""
    return _provider(settings.ARC_EMBEDDING_PROVIDER)


def load_model_here_if_alone() -> None:
    """For commands: without a model server this process loads the local model itself."""
    server = settings.ARC_MODEL_SERVER
    if settings.ARC_EMBEDDING_PROVIDER == "local" and server and not is_reachable(server):
        settings.ARC_MODEL_SERVER = ""
        forget_providers()


def forget_providers() -> None:
    """Makes the next get_provider() read the settings again."""
    _provider.cache_clear()
