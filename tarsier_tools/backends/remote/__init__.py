"""A model on a server that speaks the OpenAI API. Only this folder knows HTTP to models."""

from tarsier_tools.backends.remote.backend import RemoteBackend, served_models

__all__ = ["RemoteBackend", "served_models"]
