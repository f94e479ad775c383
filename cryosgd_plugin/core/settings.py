"""What the frozen settings of every engine share: checks at birth, and plain types for JSON."""
from __future__ import annotations

from dataclasses import asdict

from .errors import InputError


class Settings:
    """Base of the engines' frozen dataclasses."""

    def to_dict(self) -> dict:
        """Plain types, as job.json and summary.json hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict):
        """The inverse of `to_dict` (JSON's lists become tuples)."""
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


def need(condition, sentence: str) -> None:
    """Raise InputError with the sentence unless the condition holds."""
    if not condition:
        raise InputError(sentence)
