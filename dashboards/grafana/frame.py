"""What both dashboards have in common: settings, variables and links."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.models import dashboard as model

from panels import DATASOURCE, link

RUN_URL = "/d/tidemark-run"
SERVER_URL = "/d/tidemark-server"


def frame(uid: str, title: str, description: str, other: tuple[str, str], refresh: str) -> builder.Dashboard:
    """An empty dashboard, with a link to the other one. Read-only: it is changed by changing its generator."""
    return (
        builder.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["tidemark"])
        .timezone("browser")
        .readonly()
        .refresh(refresh)
        .time("now-15m", "now")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(link(*other))
        .with_variable(builder.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )


def several(name: str, label: str, description: str, query: str) -> builder.QueryVariable:
    """A variable of which any number of values can be chosen, all at first."""
    return (
        choice(name, label, description, query)
        .multi(True)
        .include_all(True)
        # Not .*, which would also match series that lack the label.
        .all_value(".+")
        .current(model.VariableOption(text=["All"], value=["$__all"], selected=True))
        .sort(model.VariableSort.NATURAL_ASC)
    )


def choice(name: str, label: str, description: str, query: str) -> builder.QueryVariable:
    """A variable whose values Prometheus knows. They are read again when the time range changes, as runs come and go."""
    return (
        builder.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(DATASOURCE)
        .query(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    )
