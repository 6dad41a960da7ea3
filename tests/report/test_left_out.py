"""Test that known findings are left out of the report, and counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

import wiredoctor
from tests.report.examples import capture_loss, finding, report
from tests.support.recordings import find_recording
from wiredoctor.findings import LeftOut, total_delay
from wiredoctor.report.coverage import find_coverage
from wiredoctor.report.exclude import Ignore, without_ignored, without_known
from wiredoctor.report.headline import headline


@pytest.mark.parametrize(
    ("entry", "fits"),
    [
        (Ignore("r", rule="nagle-delayed-ack"), True),
        (Ignore("r", rule="stalls"), True),
        (Ignore("r", rule="lifetime"), False),
        (Ignore("r", kind="head-body-split"), True),
        (Ignore("r", kind="tail"), False),
        (Ignore("r", server="10.0.0.2:80"), True),
        (Ignore("r", server="10.0.0.2"), True),
        (Ignore("r", server="10.0.0.?"), True),
        (Ignore("r", server="10.0.0.2:8*"), True),
        (Ignore("r", server="10.0.0.2:81*"), False),
        (Ignore("r", server="10.0.0"), False),
        (Ignore("r", client="10.0.0.1:*"), True),
        (Ignore("r", client="10.0.0.2*"), False),
        (Ignore("r", target="/items*"), True),
        (Ignore("r", target="/items?id=*"), True),
        (Ignore("r", target="/item"), False),
        (Ignore("r", fingerprint="8800bc00"), True),
        (Ignore("r", fingerprint="8800bc01"), False),
        (Ignore("r", fingerprint="8800bc00", rule="lifetime"), False),
        (Ignore("r", rule="stalls", server="10.0.0.2", target="/*"), True),
        (Ignore("r", rule="stalls", server="10.0.0.9", target="/*"), False),
    ],
)
def test_an_entry_fits_when_all_that_it_asks_for_holds(entry: Ignore, fits: bool) -> None:
    assert entry.fits(finding()) == fits


def test_brackets_of_an_address_are_no_set() -> None:
    one = finding(server="[2001:db8::1]:80")
    assert Ignore("r", server="[2001:db8::1]:80").fits(one)
    assert Ignore("r", server="2001:db8::*").fits(one)
    assert not Ignore("r", server="[2001:db8::1]").fits(finding(server="2"))


def test_a_finding_without_request_or_endpoint_fits_no_glob_of_one() -> None:
    assert not Ignore("r", target="/*").fits(capture_loss())
    assert not Ignore("r", server="*").fits(capture_loss())
    assert Ignore("r", rule="capture").fits(capture_loss())


def test_the_first_entry_that_fits_counts_it() -> None:
    findings = [finding(), finding(server="10.0.0.7:80"), capture_loss()]
    entries = [Ignore("old host", server="10.0.0.7:*"), Ignore("known", rule="stalls"), Ignore("unused", rule="framing")]
    left = without_ignored(report(findings), entries)
    assert left.findings == [capture_loss()]
    assert left.left_out == [
        LeftOut("ignore", "old host", 1, ("nagle-delayed-ack",)),
        LeftOut("ignore", "known", 1, ("nagle-delayed-ack",)),
    ]
    assert left.delay == 0


def test_a_baseline_leaves_what_is_new() -> None:
    old, new = finding(), finding(kind="tail", delay=0.1, elapsed=5.0)
    again = finding(connection=9, elapsed=7.0, client="10.0.0.1:60000")
    left = without_known(report([old, again, new]), {old.fingerprint}, "known.json")
    assert left.findings == [new]
    assert left.left_out == [LeftOut("baseline", "known.json", 2, ("nagle-delayed-ack",))]
    assert left.delay == total_delay([new])


def test_nothing_known_is_nothing_said() -> None:
    whole = report([finding()])
    assert without_known(whole, {"0" * 16}, "known.json") is whole
    assert without_ignored(whole, []) is whole


def test_a_known_gateway_error_still_explains_its_status() -> None:
    """haproxy answers 504 because the server behind it does not: a known fault is not an unexplained one."""
    whole = wiredoctor.analyze(find_recording("behind-haproxy-timeout.pcap"))
    for left in (
        without_known(whole, {one.fingerprint for one in whole.findings}, "known.json"),
        without_ignored(whole, [Ignore("r", rule="gateways")]),
    ):
        assert "gateway-error" not in {one.rule for one in left.findings}
        [failed] = find_coverage(left).servers[0].failures
        assert (failed.status, failed.count, failed.own, failed.unexplained) == (504, 1, {"timed-out": 1}, 0)
        assert find_coverage(left).answers.failures == {504: 1}
        assert find_coverage(left).answers.unexplained == {}
        assert "status" not in headline(left, [], find_coverage(left))


def test_a_status_that_the_known_finding_is_not_about_stays_unexplained() -> None:
    """Both sides of the gateway have a 502; without its finding, nothing explains that of the client."""
    whole = wiredoctor.analyze(find_recording("behind-two-gateways.pcap"))
    [error] = [one for one in whole.findings if one.rule == "gateway-error"]
    known = without_known(whole, {one.fingerprint for one in whole.findings}, "known.json")
    assert find_coverage(known).answers.unexplained == {}
    others = replace(whole, findings=[one for one in whole.findings if one is not error])
    assert find_coverage(others).answers.unexplained == {502: 1}
