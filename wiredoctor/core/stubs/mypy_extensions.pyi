# The part of mypy_extensions that pyright needs: to everything but mypyc, a native integer is an int.
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

i64 = int
i32 = int
i16 = int
u8 = int

def mypyc_attr(*names: str, **values: object) -> Callable[[_T], _T]: ...
