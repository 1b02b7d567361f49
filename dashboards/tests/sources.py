"""What the tests look at: the generated dashboards, the rules, the Prometheus configurations and the tables of metrics."""

from __future__ import annotations

import json
import pathlib
import re
import typing

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
GRAFANA = ROOT / "grafana"
PROMETHEUS = ROOT / "prometheus"
METRICS = ROOT.parent / "docs" / "metrics.md"

# JSON and YAML as they are read: their shape is what the tests are about.
Tree = dict[str, typing.Any]


class Metric(typing.NamedTuple):
    """One row of the tables of docs/metrics.md."""

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


# A table's rows, without its two lines of heading. The marks are the programs': their tests hold what is between to the code.
TABLE = re.compile(r"^<!-- (.+): made from its table of names -->\n(?:.*\n){2}((?:\|.*\n)+)<!-- end of \1 -->$", re.MULTILINE)
ROW = re.compile(r"\| `(\w+)` \| (counter|gauge|histogram|summary) \| ((?:`\w+`(?:, )?)*) \| [^|]+ \| [^|]+ \|")


def metrics(page: str | None = None) -> dict[str, Metric]:
    """The metrics of all programs by name, as `page` (docs/metrics.md if not given) has them."""
    found: dict[str, Metric] = {}
    for table in TABLE.finditer(METRICS.read_text() if page is None else page):
        for line in table[2].splitlines():
            row = ROW.fullmatch(line)
            if row is None or row[1] in found:
                raise ValueError(f"not the row of a metric, or its second: {line}")
            found[row[1]] = Metric(row[1], row[2], frozenset(re.findall(r"\w+", row[3])))
    return found
