"""HAR in Chromium: its network panel imports the file, and its requests are those of the capture."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

import wiredoctor
from tests.report.chromium import browser
from tests.support.recordings import find_stem
from tests.support.sweeps import SLOW
from wiredoctor.report.data import har

PANEL = "devtools://devtools/bundled/devtools_app.html?panel=network"

IMPORT = """async (text) => {
  const views = await import('./ui/legacy/legacy.js');
  const panels = await import('./panels/network/network.js');
  const logs = await import('./models/logs/logs.js');
  await views.ViewManager.ViewManager.instance().showView('network');
  await panels.NetworkPanel.NetworkPanel.instance().networkLogView.onLoadFromFile(new File([text], 'trace.har'));
  const all = [];
  for (const one of logs.NetworkLog.NetworkLog.instance().requests()) {
    const content = await one.requestContentData();
    all.push({
      method: one.requestMethod, url: one.url(), status: one.statusCode, seconds: one.duration, address: one.remoteAddress(),
      headers: one.responseHeaders.length, type: one.mimeType, text: content.text ?? null,
    });
  }
  return all;
}"""
"""What the panel does with a file that is dropped on it, and what it then shows."""


@SLOW
def test_the_network_panel_opens_it() -> None:
    names = ("chunked-stream", "unauthorized-closes", "expect-unanswered", "apache-ab")
    paths = [*map(find_stem, names)]
    out = io.BytesIO()
    har.write(wiredoctor.analyze(*paths, keep=True), out, bodies=True)
    entries: list[dict[str, Any]] = json.loads(out.getvalue())["log"]["entries"]
    assert len(entries) > 10
    with browser() as chromium:
        page = chromium.new_page()
        try:
            page.goto(PANEL, wait_until="load", timeout=20_000)
            page.wait_for_selector("div.root-view", timeout=20_000)
            shown = page.evaluate(IMPORT, out.getvalue().decode())
        except Exception as error:  # noqa: BLE001  whatever it is, it is about the insides of this Chromium
            pytest.skip(f"the developer tools of this Chromium are laid out otherwise: {str(error).splitlines()[0]}")
    assert len(shown) == len(entries)
    for one, entry in zip(shown, entries, strict=True):
        request, response = entry["request"], entry["response"]
        assert (one["method"], one["url"], one["status"]) == (request["method"], request["url"], response["status"])
        assert one["seconds"] == pytest.approx(entry["time"] / 1000, abs=1e-6)
        assert one["address"].partition(":")[0] == entry["serverIPAddress"]
        assert one["headers"] == len(response["headers"])
        if "text" in response["content"] and response["content"].get("encoding") != "base64":
            assert one["text"] == response["content"]["text"]
