"""Choose random networks of services: who asks whom, what fails, and what a report must say of it.

A plan depends on seed and number only.
"""

from __future__ import annotations

import random
from inspect import getmembers, isfunction

import failing_services
import healthy_services
import services_behind_gateways
from service_shapes import Plan

GROUPS = {"healthy": healthy_services, "gateway": services_behind_gateways, "fault": failing_services}
FAMILIES = [
    (group, make)
    for group, module in GROUPS.items()
    for _, make in sorted(getmembers(module, isfunction), key=lambda one: one[1].__code__.co_firstlineno)
    if make.__module__ == module.__name__
]
"""The networks, in the order of their modules."""


def plan(number: int, seed: int) -> Plan:
    """Return the plan with this number."""
    chance = random.Random(f"{seed}-{number}")
    group, make = FAMILIES[number % len(FAMILIES)]
    case = Plan(number, make.__name__.replace("_", "-"), group, scale=chance.choice((1, 1, 2)) if group != "fault" else 1)
    make(case, chance)
    return case
