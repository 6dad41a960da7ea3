"""Convert words of the command line to values, without pydantic.

Typer (0.29 and later) converts every parameter through pydantic, whose import takes 50 ms of CPU: a third of the budget for a
small capture. In wiredoctor, every parameter is text, a choice or an integer, which is quick to convert. Typer itself still
converts parameters of other types, and it converts all parameters if its version is not supported here.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple, get_args, get_origin

import typer

_READY = "_runtime_param"
"""The attribute in which a Typer parameter keeps its converter, created on first use."""


def without_pydantic(command: Any, help_names: list[str]) -> Any:
    """Make `Converter` convert the parameters of a command, its subcommands and its help options; return the command."""
    for parameter in command.get_params(typer.Context(command, help_option_names=help_names)):
        annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
        several = get_origin(annotation) is list
        one = get_args(annotation)[0] if several else annotation
        if hasattr(parameter, _READY) and isinstance(one, type) and issubclass(one, str | int | Enum):
            info = parameter.type_descriptor.parameter_info
            setattr(parameter, _READY, Converter(one, several, info.min, info.max))
    for subcommand in getattr(command, "commands", {}).values():
        without_pydantic(subcommand, help_names)
    return command


class Converter(NamedTuple):
    """Converts the words of a parameter to values of type `kind`.

    The result is one value or, with `several`, a list. `least` and `most`: the limits of a number.
    """

    kind: Any
    several: bool
    least: float | None = None
    most: float | None = None

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Convert the words given for a parameter. If there are none, return None or an empty tuple, as Typer expects.

        Raise typer.BadParameter if a word is invalid.
        """
        if value is None:
            return () if self.several else None
        try:
            return [self._one(word) for word in value] if self.several else self._one(value)
        except ValueError as error:
            raise typer.BadParameter(str(error), ctx=ctx, param=param) from None

    def _one(self, word: Any) -> Any:
        if issubclass(self.kind, Enum):
            return self._choice(word)
        if self.kind is str:
            return str(word)
        if self.kind is bool:
            return bool(word)
        return self._number(word)

    def _choice(self, word: Any) -> Any:
        choices = [str(choice.value) for choice in self.kind]
        if word not in choices:
            raise ValueError(f"{word!r} is not one of {', '.join(choices)}.")
        return self.kind(word)

    def _number(self, word: Any) -> int:
        try:
            number = int(word)
        except ValueError:
            raise ValueError(f"{word!r} is not a whole number.") from None
        if self.least is not None and number < self.least:
            raise ValueError(f"{number} is below {self.least}.")
        if self.most is not None and number > self.most:
            raise ValueError(f"{number} is above {self.most}.")
        return number
