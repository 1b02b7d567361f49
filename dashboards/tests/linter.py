"""The rules of Grafana's dashboard-linter, each by the linter's name for it, on the JSON of a dashboard.

A rule returns what is wrong, one sentence each. Where a rule differs from the linter's, its comment says how and why. The
linter's two rules for LogQL are target_logql here: there is no log data source, so no target may have one.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import typing

from grafana_foundation_sdk.models import units

import promql
from sources import Tree, panels, targets

DATASOURCE = "${datasource}"

# Recorded constants: one value for the whole installation, which has neither a job nor an instance.
CONSTANTS = re.compile(r"tidemark:slo_\w+")

Rule = typing.Callable[[Tree], list[str]]


def variables(dashboard: Tree, kind: str) -> list[Tree]:
    """The dashboard's variables of one type."""
    return [variable for variable in dashboard["templating"]["list"] if variable["type"] == kind]


def template_datasource(dashboard: Tree) -> list[str]:
    """The data source is a variable, called as the linter wants it."""
    found = variables(dashboard, "datasource")
    if not found:
        return ["no variable for the data source"]
    good = [v["name"] == "datasource" and v["label"] == "Data source" and v["query"] == "prometheus" for v in found]
    return [] if good == [True] else ["the data source's variable is not one `datasource`, `Data source`, of prometheus"]


def template_label(dashboard: Tree, name: str) -> list[str]:
    """Job and instance are variables of which several can be chosen, and `All` leaves none without the label out."""
    found = [variable for variable in variables(dashboard, "query") if variable["name"] == name]
    if not found:
        return [f"no variable {name}"]
    wrong = []
    for key, want in (("label", name.capitalize()), ("multi", True), ("includeAll", True), ("allValue", ".+")):
        if found[0].get(key) != want:
            wrong.append(f"variable {name}: {key} is {found[0].get(key)!r}, not {want!r}")
    if found[0]["datasource"]["uid"] != DATASOURCE:
        wrong.append(f"variable {name} does not use the chosen data source")
    return wrong


def template_job(dashboard: Tree) -> list[str]:
    """There is a variable for the job."""
    return template_label(dashboard, "job")


def template_instance(dashboard: Tree) -> list[str]:
    """There is a variable for the instance."""
    return template_label(dashboard, "instance")


def template_label_promql(dashboard: Tree) -> list[str]:
    """The queries of variables are label_values() of a selector that parses."""
    wrong, exprs = [], []
    for variable in variables(dashboard, "query"):
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
        if match:
            exprs.append(match[1])
        else:
            wrong.append(f"variable {variable['name']}: {variable['query']} is not label_values(selector, label)")
    return wrong + unparsable(exprs)


def template_on_time_change_reload(dashboard: Tree) -> list[str]:
    """Variables are read again when the time range changes."""
    return [f"variable {v['name']} does not reload" for v in variables(dashboard, "query") if v.get("refresh") != 2]


def panel_datasource(dashboard: Tree) -> list[str]:
    """Panels use the chosen data source. Stricter than the linter's: so do their targets and the annotations."""
    users = [*panels(dashboard), *(target for _, target in targets(dashboard)), *annotations(dashboard)]
    return [f"not from the chosen data source: {user}" for user in users if user.get("datasource", {}).get("uid") != DATASOURCE]


def annotations(dashboard: Tree) -> list[Tree]:
    """The dashboard's annotation queries."""
    return dashboard["annotations"].get("list", [])


def panel_title_description(dashboard: Tree) -> list[str]:
    """Panels have both. Stricter than the linter's, which lets heatmaps off."""
    return [f"no title or no description: {p.get('title')!r}" for p in panels(dashboard) if not p.get("title") or not p.get("description")]


def panel_units(dashboard: Tree) -> list[str]:
    """Panels have a unit that Grafana knows. Stricter than the linter's, which lets heatmaps and value mappings off."""
    known = {value for value in vars(units).values() if isinstance(value, str)}
    return [
        f"{panel['title']}: no unit that Grafana knows"
        for panel in panels(dashboard)
        if panel["fieldConfig"]["defaults"].get("unit") not in known
    ]


def panel_no_targets(dashboard: Tree) -> list[str]:
    """Panels ask something."""
    return [f"{panel['title']}: no targets" for panel in panels(dashboard) if not panel.get("targets")]


def target_logql(dashboard: Tree) -> list[str]:
    """No target is for logs."""
    return [f"{p['title']}: not PromQL" for p, target in targets(dashboard) if target["datasource"]["type"] != "prometheus"]


def target_promql(dashboard: Tree) -> list[str]:
    """Expressions parse. Stricter than the linter's: so do those of annotations."""
    return unparsable([t["expr"] for t in [target for _, target in targets(dashboard)] + annotations(dashboard)])


def unparsable(exprs: list[str]) -> list[str]:
    """What promtool says of the expressions, as rules of a file of their own."""
    groups = [{"record": f"check:{number}", "expr": promql.concrete(expr)} for number, expr in enumerate(exprs)]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        # JSON is YAML, and quotes by itself.
        json.dump({"groups": [{"name": "expressions", "rules": groups}]}, file)
        file.flush()
        run = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True, text=True, check=False)
    return [] if run.returncode == 0 else [run.stdout + run.stderr]


def target_rate_interval(dashboard: Tree) -> list[str]:
    """Windows follow the zoom and the scrape interval. Stricter than the linter's: increase() too, as in the heatmaps."""
    return [
        f"{panel['title']}: {selector.window} instead of [$__rate_interval]"
        for panel, selector in read(dashboard)
        if selector.window and selector.window != "[$__rate_interval]"
    ]


def target_job(dashboard: Tree) -> list[str]:
    """Series are of the chosen job, but for constants."""
    return unmatched(dashboard, 'job=~"$job"')


def target_instance(dashboard: Tree) -> list[str]:
    """Series are of the chosen instances, but for constants."""
    return unmatched(dashboard, 'instance=~"$instance"')


def unmatched(dashboard: Tree, matcher: str) -> list[str]:
    """Series that are read without the matcher."""
    return [
        f"{panel['title']}: {selector.name} without {matcher}"
        for panel, selector in read(dashboard)
        if matcher not in selector.matchers and not CONSTANTS.fullmatch(selector.name)
    ]


def target_counter_agg(dashboard: Tree) -> list[str]:
    """Counters are read as rates. Stricter than the linter's: a histogram's buckets, count and sum are counters, too."""
    return [
        f"{panel['title']}: counter {selector.name} is not in rate, irate or increase"
        for panel, selector in read(dashboard)
        if re.search(r"_(total|bucket|count|sum)$", selector.name) and selector.caller not in ("rate", "irate", "increase")
    ]


def read(dashboard: Tree) -> list[tuple[Tree, promql.Selector]]:
    """Every series that a panel reads."""
    return [(panel, selector) for panel, target in targets(dashboard) for selector in promql.selectors(target["expr"])]


def uneditable_dashboard(dashboard: Tree) -> list[str]:
    """The dashboard is changed by its generator, not in the browser."""
    return ["the dashboard is editable"] if dashboard.get("editable", True) else []


RULES: dict[str, Rule] = {
    "template-datasource-rule": template_datasource,
    "template-job-rule": template_job,
    "template-instance-rule": template_instance,
    "template-label-promql-rule": template_label_promql,
    "template-on-time-change-reload-rule": template_on_time_change_reload,
    "panel-datasource-rule": panel_datasource,
    "panel-title-description-rule": panel_title_description,
    "panel-units-rule": panel_units,
    "panel-no-targets-rule": panel_no_targets,
    "target-logql-rule": target_logql,
    "target-promql-rule": target_promql,
    "target-rate-interval-rule": target_rate_interval,
    "target-job-rule": target_job,
    "target-instance-rule": target_instance,
    "target-counter-agg-rule": target_counter_agg,
    "uneditable-dashboard": uneditable_dashboard,
}

# These ask promtool.
NEED_PROMTOOL = {"template-label-promql-rule", "target-promql-rule"}
