"""Mock-up to code: a picture of a page becomes HTML and CSS that is drawn, compared and improved (see `mockup`)."""

from __future__ import annotations

from importlib.util import find_spec

from regard.errors import MissingDependencyError

if find_spec("scipy") is None:
    raise MissingDependencyError("mock-up to code needs scipy, which is not installed; run pip install 'regard[code]'")

from regard.apps.coding.mockup import chart_to_code, mockup_to_code
from regard.apps.coding.result import ChartResult, CodedPage, MockupResult

__all__ = ["ChartResult", "CodedPage", "MockupResult", "chart_to_code", "mockup_to_code"]
