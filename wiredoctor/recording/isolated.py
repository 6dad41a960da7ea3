"""Run the recorder with the package that this file is in: `python -I isolated.py [FOLDER ...] REQUEST`.

With -I, Python looks for modules neither in the current folder nor where the environment or the user's configuration says. So the
package is loaded from its own folder; other packages are looked for in these folders, last of all.
"""

from __future__ import annotations

import importlib.util
import os
import sys


def main() -> int:
    """Load the package and run the recorder; return its exit code."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path += sys.argv[1:-1]
    del sys.argv[1:-1]
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
