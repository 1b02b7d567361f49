"""Panels of one look: what a panel asks and means is said where it is used, how it is drawn is said here."""

from __future__ import annotations

from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import common as common_builder
from grafana_foundation_sdk.builders import dashboard as dashboard_builder
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heatmap_model
from grafana_foundation_sdk.models import prometheus as prometheus_model

# Every query and variable goes to the data source that is chosen at the top of the dashboard.
DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

# Grafana's grid is 24 wide. Stats stand six in a row, graphs two.
STAT_WIDTH = 4
STAT_HEIGHT = 4
GRAPH_WIDTH = 12
GRAPH_HEIGHT = 8
HEATMAP_WIDTH = 24
HEATMAP_HEIGHT = 9


@dataclass(frozen=True)
class Query:
    """A PromQL expression and how its series are called."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Look:
    """What sets one panel's drawing apart from the others'."""

    log_scale: bool = False
    stacked: bool = False
    minimum: float | None = 0
    dashed: str | None = None  # series whose name matches are what was asked for: drawn as a dashed line
    limit: float | None = None  # a line that ought not to be crossed
    links: tuple[tuple[str, str], ...] = field(default=())


def target(query: Query, index: int, step: str) -> prometheus.Dataquery:
    """The query as the `index`-th of its panel; `step` is the scrape interval, from which $__rate_interval follows."""
    return (
        prometheus.Dataquery()
        .datasource(DATASOURCE)
        .expr(query.expr)
        .legend_format(query.legend)
        .ref_id(chr(ord("A") + index))
        .interval(step)
        .range()
    )


def link(title: str, url: str) -> dashboard_builder.DashboardLink:
    """A link to another dashboard, at the same time."""
    return (
        dashboard_builder.DashboardLink(title)
        .type(model.DashboardLinkType.LINK)
        .url(url)
        .tooltip(title)
        .icon("dashboard")
        .keep_time(True)
    )


def thresholds(steps: list[tuple[float | None, str]]) -> dashboard_builder.ThresholdsConfig:
    """Colours from a value upwards; the first step has no lower end."""
    return (
        dashboard_builder.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([model.Threshold(value=value, color=color) for value, color in steps])
    )


def graph(title: str, description: str, unit: str, queries: list[Query], step: str, look: Look = Look()) -> timeseries.Panel:
    """Lines over time, with a table of the last and highest values as the legend."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(GRAPH_WIDTH)
        .height(GRAPH_HEIGHT)
        .line_width(1)
        .fill_opacity(30 if look.stacked else 5)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            common_builder.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(
            common_builder.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
    )
    for index, query in enumerate(queries):
        panel.with_target(target(query, index, step))
    return styled(panel, look)


def styled(panel: timeseries.Panel, look: Look) -> timeseries.Panel:
    """The panel with what sets it apart."""
    if look.log_scale:
        panel.scale_distribution(common_builder.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10))
    elif look.minimum is not None:
        panel.min(look.minimum)
    if look.stacked:
        panel.stacking(common_builder.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if look.dashed is not None:
        dashes = {"fill": "dash", "dash": [8, 6]}
        panel.override_by_regexp(
            look.dashed,
            [
                model.DynamicConfigValue(id_val="custom.lineStyle", value=dashes),
                model.DynamicConfigValue(id_val="custom.fillOpacity", value=0),
            ],
        )
    if look.limit is not None:
        panel.thresholds(thresholds([(None, "transparent"), (look.limit, "red")]))
        panel.thresholds_style(
            common_builder.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    if look.links:
        panel.links([link(name, url) for name, url in look.links])
    return panel


def heat(title: str, description: str, expr: str, step: str) -> heatmap.Panel:
    """A histogram over time: darker where more of the values lie. `expr` gives counts per `le`."""
    query = target(Query(expr, "{{le}}"), 0, step).format(prometheus_model.PromQueryFormat.HEATMAP)
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .span(HEATMAP_WIDTH)
        .height(HEATMAP_HEIGHT)
        .with_target(query)
        .calculate(False)
        .unit("s")
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_model.HeatmapColorMode.SCHEME)
            .scheme("Turbo")
            .scale(heatmap_model.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .cell_gap(0)
        # An empty cell is not drawn, nor what rounding leaves of an empty one.
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .y_axis(heatmap.YAxisConfig().unit("s").axis_placement(common.AxisPlacement.LEFT))
        .cell_values(heatmap.CellValues().unit("short"))
        .mode(common.TooltipDisplayMode.SINGLE)
        .show_y_histogram()
        .show_legend()
    )


def figure(
    title: str,
    description: str,
    unit: str,
    query: Query,
    step: str,
    colors: list[tuple[float | None, str]],
    words: dict[str, tuple[str, str]] | None = None,
    show_name: bool = False,
) -> stat.Panel:
    """One figure in large type, coloured by its value. `words` stand in place of values; `show_name` shows the legend."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(STAT_WIDTH)
        .height(STAT_HEIGHT)
        .with_target(target(query, 0, step))
        .thresholds(thresholds(colors))
        .color_mode(common.BigValueColorMode.BACKGROUND if words else common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.NAME if show_name else common.BigValueTextMode.AUTO)
        .reduce_options(common_builder.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
        .no_value("no data")
    )
    if words:
        panel.mappings([words_for(words)])
    return panel


def words_for(words: dict[str, tuple[str, str]]) -> model.ValueMap:
    """Values shown as a word in a colour."""
    return model.ValueMap(
        options={
            value: model.ValueMappingResult(text=text, color=color, index=index)
            for index, (value, (text, color)) in enumerate(words.items())
        }
    )
