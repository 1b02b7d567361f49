"""The dashboards pass every rule of the linter, and every rule sees what it is for."""

import copy
import shutil
import typing
import unittest

from linter import NEED_PROMTOOL, RULES
from sources import Tree, dashboards, panels, targets


def first_query(dashboard: Tree) -> Tree:
    """A variable with a query."""
    return next(variable for variable in dashboard["templating"]["list"] if variable["type"] == "query")


def without(name: str) -> typing.Callable[[Tree], None]:
    """Takes a variable away."""

    def change(dashboard: Tree) -> None:
        kept = [variable for variable in dashboard["templating"]["list"] if variable["name"] != name]
        dashboard["templating"]["list"] = kept

    return change


def rewrite(old: str, new: str) -> typing.Callable[[Tree], None]:
    """Changes the first expression that has `old` in it."""

    def change(dashboard: Tree) -> None:
        target = next(target for _, target in targets(dashboard) if old in target["expr"])
        target["expr"] = target["expr"].replace(old, new)

    return change


# How to break each rule, in one or more ways.
BREAKS: dict[str, list[typing.Callable[[Tree], typing.Any]]] = {
    "template-datasource-rule": [without("datasource"), lambda d: d["templating"]["list"][0].update(label="Source")],
    "template-job-rule": [without("job"), lambda d: first_query(d).update(multi=False)],
    "template-instance-rule": [without("instance")],
    "template-label-promql-rule": [
        lambda d: first_query(d).update(query="label_values(a{, job)"),
        lambda d: first_query(d).update(query="metrics(a)"),
    ],
    "template-on-time-change-reload-rule": [lambda d: first_query(d).update(refresh=1)],
    "panel-datasource-rule": [
        lambda d: panels(d)[0]["datasource"].update(uid="mine"),
        lambda d: targets(d)[0][1]["datasource"].update(uid="mine"),
    ],
    "panel-title-description-rule": [lambda d: panels(d)[0].update(title=""), lambda d: panels(d)[-1].pop("description")],
    "panel-units-rule": [lambda d: panels(d)[0]["fieldConfig"]["defaults"].update(unit="parsec")],
    "panel-no-targets-rule": [lambda d: panels(d)[0].update(targets=[])],
    "target-logql-rule": [lambda d: targets(d)[0][1]["datasource"].update(type="loki")],
    "target-promql-rule": [lambda d: targets(d)[-1][1].update(expr="sum(rate(a_total[1m])")],
    "target-rate-interval-rule": [rewrite("$__rate_interval", "5m")],
    "target-job-rule": [rewrite('job=~"$job", ', "")],
    "target-instance-rule": [rewrite('instance=~"$instance"', 'x="y"')],
    "target-counter-agg-rule": [lambda d: targets(d)[0][1].update(expr='a_total{job=~"$job"}'), rewrite("rate(", "delta(")],
    "uneditable-dashboard": [lambda d: d.update(editable=True), lambda d: d.pop("editable")],
}


class Linter(unittest.TestCase):
    def rules(self) -> typing.Iterator[str]:
        """The rules that can be asked here."""
        for name in RULES:
            if name in NEED_PROMTOOL and shutil.which("promtool") is None:
                print(f"{name}: not checked, promtool is missing")
            else:
                yield name

    def test_there_is_something_to_lint(self) -> None:
        self.assertEqual(list(dashboards()), ["run.json", "server.json"])

    def test_every_dashboard_passes_every_rule(self) -> None:
        for rule in self.rules():
            for name, dashboard in dashboards().items():
                with self.subTest(rule=rule, dashboard=name):
                    self.assertEqual(RULES[rule](dashboard), [])

    def test_every_rule_sees_what_it_is_for(self) -> None:
        self.assertEqual(RULES.keys(), BREAKS.keys())
        for rule in self.rules():
            for name, dashboard in dashboards().items():
                for number, change in enumerate(BREAKS[rule]):
                    with self.subTest(rule=rule, dashboard=name, change=number):
                        broken = copy.deepcopy(dashboard)
                        change(broken)
                        self.assertNotEqual(RULES[rule](broken), [])


if __name__ == "__main__":
    unittest.main()
