"""Defer imports of modules that a library imports when it starts, but that few runs use.

importlib.util.LazyLoader does not help: it loads a module as soon as any `import` statement names it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import Any

_replacing = Lock()


class DeferredModule(ModuleType):
    """Stands for a module in sys.modules until one of the module's attributes is used; then imports the module itself."""

    def __getattr__(self, attribute: str) -> Any:
        # the modules warnings and inspect read such attributes of every module
        if attribute.startswith("__") and attribute not in ("__all__", "__path__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {attribute!r}")
        with _replacing:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
        module = import_module(self.__name__)
        self.__dict__.update(vars(module))
        return getattr(module, attribute)


def defer(*names: str) -> None:
    """Defer the import of modules that are not imported yet. Packages that contain one of them are imported now."""
    for name in names:
        package, _, child = name.rpartition(".")
        if name not in sys.modules:
            sys.modules[name] = DeferredModule(name)
            if package:
                setattr(import_module(package), child, sys.modules[name])
