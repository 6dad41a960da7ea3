"""List the network interfaces of this machine, and check whether and how this user may capture on them.

The checks capture nothing. They only use the standard library, so they are quick.
"""

from __future__ import annotations

from wiredoctor.interfaces.backends import find, permission, search_path
from wiredoctor.interfaces.capabilities import is_privileged, required_capabilities
from wiredoctor.interfaces.libpcap import FILTER_NEEDS_LIBPCAP, load_libpcap
from wiredoctor.interfaces.listing import interfaces
from wiredoctor.interfaces.model import ANY, Backend, Interface, Permission, UnsupportedSystemError
from wiredoctor.interfaces.traffic import traffic

__all__ = ["ANY", "FILTER_NEEDS_LIBPCAP", "Backend", "Interface", "Permission", "UnsupportedSystemError", "find", "interfaces"]
__all__ += ["is_privileged", "load_libpcap", "permission", "required_capabilities", "search_path", "traffic"]
