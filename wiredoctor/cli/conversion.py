"""Words of the command line -> values, without pydantic.

Typer (0.29 and later) converts every parameter through pydantic, whose import takes 50 ms of CPU: a third of what a whole
run on a small capture may cost. Here a parameter is text, a choice or a whole number, which is soon converted. A Typer
that works in another way, and a parameter of another type, are left as they are.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple, get_args, get_origin

import typer

_READY = "_runtime_param"
"""Where a parameter of Typer keeps its converter, which it makes when it first needs one."""


def without_pydantic(command: Any, help_names: list[str]) -> Any:
    """The command of a Typer, its parameters and those of its subcommands, their help options too, converted by `Converter`."""
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
    """Converts what was given for a parameter: one value, or a list of them."""

    kind: Any
    several: bool
    least: float | None = None
    most: float | None = None

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value, or what is missing in the way that Typer expects it; raises typer.BadParameter."""
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
