"""Headless Chromium for the tests of this folder."""

import support_fixtures

browser = support_fixtures.browser
