"""How models are named to readers."""

from pathlib import PurePath


def shown_model(model: str) -> str:
    """A hub id as it is; of a local folder its name, since the rest says nothing to others."""
    return PurePath(model).name if model.startswith((".", "/", "~")) or "\\" in model else model
