"""What the tests look at: the generated dashboards, the rules, the Prometheus configurations and the list of metrics."""

from __future__ import annotations

import json
import pathlib
import typing

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
GRAFANA = ROOT / "grafana"
PROMETHEUS = ROOT / "prometheus"

# JSON and YAML as they are read: their shape is what the tests are about.
Tree = dict[str, typing.Any]


class Metric(typing.NamedTuple):
    """One line of metric-names.txt."""

    name: str
    kind: str
    labels: frozenset[str]


def dashboards() -> dict[str, Tree]:
    """The committed dashboards by file name."""
    return {path.name: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}


def panels(dashboard: Tree) -> list[Tree]:
    """Every panel that is not a row's heading."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def targets(dashboard: Tree) -> list[tuple[Tree, Tree]]:
    """Every query with its panel."""
    return [(panel, target) for panel in panels(dashboard) for target in panel.get("targets", [])]


def read_yaml(path: pathlib.Path) -> typing.Any:
    """A YAML file's content."""
    return yaml.safe_load(path.read_text())


def rules(name: str) -> list[Tree]:
    """All rules of prometheus/rules/NAME."""
    return [rule for group in read_yaml(PROMETHEUS / "rules" / name)["groups"] for rule in group["rules"]]


def rule_tests() -> list[Tree]:
    """All cases of prometheus/tests."""
    return [case for path in sorted((PROMETHEUS / "tests").glob("*.yml")) for case in read_yaml(path)["tests"]]


def metrics() -> dict[str, Metric]:
    """The metrics of both programs by name."""
    lines = (ROOT / "metric-names.txt").read_text().splitlines()
    rows = [line.split(" ") for line in lines]
    return {row[0]: Metric(row[0], row[1], frozenset(row[2].split(",") if len(row) > 2 else ())) for row in rows}
