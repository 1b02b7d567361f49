#!/usr/bin/env python3
"""Writes dashboards/*.json from the typed descriptions beside this file; with --check, says which are stale."""

from __future__ import annotations

import argparse
import pathlib
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana_foundation_sdk.models import dashboard as model

import run_dashboard
import server_dashboard

TARGET = pathlib.Path(__file__).parent / "dashboards"

DASHBOARDS = {"run.json": run_dashboard.build, "server.json": server_dashboard.build}


def rendered() -> dict[str, str]:
    """Every dashboard's file name and text. The order of keys is the SDK's, so that equal input gives equal bytes."""
    encoder = JSONEncoder(indent=2, ensure_ascii=False)
    return {name: encoder.encode(numbered(build().build())) + "\n" for name, build in DASHBOARDS.items()}


def numbered(dashboard: model.Dashboard) -> model.Dashboard:
    """The dashboard with its panels numbered in order: Grafana's links to a panel use the number."""
    for number, panel in enumerate(dashboard.panels or [], start=1):
        panel.id_val = number
    return dashboard


def stale(files: dict[str, str]) -> list[str]:
    """Names of the files on disk that differ from what is generated now, and of those that nothing generates."""
    present = {path.name for path in TARGET.glob("*.json")}
    changed = {name for name, text in files.items() if name not in present or (TARGET / name).read_text() != text}
    return sorted(changed | (present - files.keys()))


def main() -> int:
    """0 when all is well, 1 when --check found a stale file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is not what would be written")
    arguments = parser.parse_args()
    files = rendered()
    if arguments.check:
        names = stale(files)
        for name in names:
            print(f"{TARGET / name} is stale: run scripts/dashboards generate", file=sys.stderr)
        return 1 if names else 0
    TARGET.mkdir(exist_ok=True)
    for name, text in files.items():
        (TARGET / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
