"""Prices, switch-off dates and replacements of models: `models.toml`, and a file of the same form that a user names."""

import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

_Amount = Annotated[float, Field(ge=0)]
_SHIPPED = Path(__file__).with_name("models.toml")


class Price(BaseModel):
    """The price of a model's tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    #: Dollars per million tokens.
    input: _Amount
    output: _Amount
    #: Of input that the server had in its cache; the input price unless given.
    cached_input: _Amount | None = None
    #: Input tokens above which the whole call costs more; never unless given.
    long_from: Annotated[int | None, Field(ge=1)] = None
    #: What the input price and the output price are then multiplied by.
    long_input: Annotated[float, Field(ge=1)] = 1.0
    long_output: Annotated[float, Field(ge=1)] = 1.0

    def micros(self, prompt: int, cached: int, completion: int) -> int:
        """Return the cost of a call in millionths of a dollar.

        Args:
            prompt: input tokens.
            cached: how many of the input tokens came from the server's cache.
            completion: output tokens.
        """
        cached_price = self.input if self.cached_input is None else self.cached_input
        is_long = self.long_from is not None and prompt > self.long_from
        # Dollars per million tokens are millionths of a dollar per token.
        given = self.input * (prompt - cached) + cached_price * cached
        taken = self.output * completion
        return round(given * self.long_input + taken * self.long_output) if is_long else round(given + taken)


class KnownModel(BaseModel):
    """What is known of a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    price: Price | None = None
    #: The first day without the model.
    shutdown: date | None = None
    #: The model to call instead.
    replacement: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_price(cls, value: object) -> object:
        """Put the fields of the price, which stand with the others in the file, together."""
        if not isinstance(value, dict) or "price" in value:
            return value
        own = {name: value[name] for name in ("shutdown", "replacement") if name in value}
        price = {name: each for name, each in value.items() if name not in own}
        return {**own, "price": price} if price else own


def read_models(file: Path | None = None) -> Mapping[str, KnownModel]:
    """Return what is known of models by name; an entry of the file stands in place of the shipped one.

    Raises:
        ValueError: the file cannot be read, or is not of the form of `models.toml`.
    """
    return {**_read(_SHIPPED), **({} if file is None else _read(file))}


def _read(path: Path) -> Mapping[str, KnownModel]:
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["models"]
        return {name: KnownModel.model_validate(entry) for name, entry in entries.items()}
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path} has an invalid entry: {where}: {first['msg']}") from exc
    except (OSError, ValueError, KeyError, AttributeError) as exc:
        raise ValueError(f"{path} is not a file of models: {exc}") from exc
