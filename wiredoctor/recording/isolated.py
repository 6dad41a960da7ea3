"""Run the recorder from the package that contains this file: `python -I isolated.py REQUEST`.

With -I, Python ignores the current folder, the environment and the user's site-packages when it looks for modules. Therefore the
package is loaded from the folder that contains it. If that is a site-packages or dist-packages folder, even a user's, other
packages are loaded from there too.
"""

from __future__ import annotations

import importlib.util
import os
import sys


def main() -> int:
    """Load the package and run the recorder; return its exit code."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if os.path.basename(os.path.dirname(package)) in ("site-packages", "dist-packages"):
        sys.path.append(os.path.dirname(package))
    place = os.path.join(package, "__init__.py")
    spec = importlib.util.spec_from_file_location("wiredoctor", place, submodule_search_locations=[package])
    assert spec is not None
    assert spec.loader is not None
    sys.modules["wiredoctor"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from wiredoctor.recording.__main__ import main as record

    return record()


if __name__ == "__main__":
    sys.exit(main())
