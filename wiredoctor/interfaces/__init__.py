"""What there is to capture on: the network interfaces of this machine, and whether this user may capture there, and by what.

Nothing is captured to find out. The standard library is enough, so that asking is quick.
"""

from __future__ import annotations

from wiredoctor.interfaces.backends import find, permission, search_path
from wiredoctor.interfaces.capabilities import demanded, is_privileged
from wiredoctor.interfaces.listing import interfaces
from wiredoctor.interfaces.model import ANY, Backend, Interface, Permission, UnsupportedSystemError

__all__ = [
    "ANY",
    "Backend",
    "Interface",
    "Permission",
    "UnsupportedSystemError",
    "demanded",
    "find",
    "interfaces",
    "is_privileged",
    "permission",
    "search_path",
]
