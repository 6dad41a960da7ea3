"""URLs of documentation pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wiredoctor.findings import Finding

DOCUMENTATION = "https://github.com/wiredoctor/wiredoctor/tree/main/docs/pages"


def page_of_rule(finding: Finding) -> str:
    """Return the URL of the documentation page of a finding's rule; "" for a rule of another package."""
    folder = Path(__file__).parents[1] / "rules" / finding.family.replace("-", "_")
    is_own = (folder / f"{finding.rule.replace('-', '_')}.py").is_file()
    return f"{DOCUMENTATION}/rules/{finding.rule}.md" if is_own else ""
