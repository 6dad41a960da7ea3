"""Run `python -m wiredoctor`."""

from __future__ import annotations

from wiredoctor.cli import main

if __name__ == "__main__":
    main()
