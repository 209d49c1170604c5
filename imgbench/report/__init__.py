"""What a benchmark found, as a table, a picture, a page and a folder."""

from __future__ import annotations

from imgbench.report.report import Report

__all__ = ["Report"]
