"""The dashboard of a run: what the load generator asked for, what it got, and how far the figures can be trusted."""

from __future__ import annotations

import typing

from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.models import dashboard as model

from frame import RUN_URL, SERVER_URL, choice, frame, several
from panels import DATASOURCE, Look, Query, figure, graph, heat

UID = RUN_URL.removeprefix("/d/")

# The load generator is read once a second, and its interval gauges change that often unless --interval says otherwise.
STEP = "1s"

GENERATOR = 'job=~"$job", instance=~"$instance"'
RUN = f'{GENERATOR}, run="$run"'
POPULATION = f'{RUN}, population=~"$population"'
BY_POPULATION = "sum by (instance, population)"

QUANTILES = {"p50": "0.5", "p90": "0.9", "p99": "0.99", "p99.9": "0.999", "p99.99": "0.9999", "max": "1"}

TO_SERVER = (("Server at this time", SERVER_URL),)


class PhaseAnnotation(model.AnnotationQuery):
    """A Prometheus annotation. The SDK's type lacks the fields that only Prometheus data sources read."""

    def to_json(self) -> dict[str, object]:
        return super().to_json() | PHASE_FIELDS


# A mark stands at the time that the series' value is, not at the time when it was read.
PHASE_FIELDS: dict[str, object] = {
    "titleFormat": "{{phase}}",
    "textFormat": "run {{run}}",
    "tagKeys": "phase",
    "useValueForTime": True,
    "step": "5s",
}


class PhaseAnnotationBuilder(builder.AnnotationQuery):
    """Builds a PhaseAnnotation."""

    def __init__(self) -> None:
        super().__init__()
        self._internal = PhaseAnnotation()


def quantiles(kind: str, names: typing.Iterable[str], legend: str) -> list[Query]:
    """The exact percentiles of the last interval, one query each. `legend` has `{}` where the percentile's name goes."""
    return [
        Query(f'tidemark_loadgen_{kind}_interval_seconds{{{POPULATION}, quantile="{QUANTILES[name]}"}}', legend.format(name))
        for name in names
    ]


def arrivals(outcome: str, window: str = "$__rate_interval") -> str:
    """Arrivals a second whose outcome matches."""
    return f'{BY_POPULATION} (rate(tidemark_loadgen_arrivals_total{{{POPULATION}, outcome=~"{outcome}"}}[{window}]))'


def own(expr: str) -> str:
    """Of figures that every process has, those of load generators: with all jobs chosen, others' would be among them."""
    return f"({expr} and on (job, instance) tidemark_loadgen_build_info{{{GENERATOR}}})"


def mean(kind: str) -> str:
    """The mean of a histogram's values."""
    total, count = (
        f"{BY_POPULATION} (rate(tidemark_loadgen_{kind}_seconds_{part}{{{POPULATION}}}[$__rate_interval]))"
        for part in ("sum", "count")
    )
    return f"{total} / {count}"


def build() -> builder.Dashboard:
    """The whole dashboard."""
    dashboard = frame(
        UID,
        "Tidemark / Run",
        "A run of the load generator: is it valid, was the plan kept, how long did responses take, and what failed.",
        ("Server", SERVER_URL),
        "5s",
    )
    for variable in variables():
        dashboard.with_variable(variable)
    dashboard.annotation(phases())
    for row in (verdict, load, latency, parts, objectives, generator):
        row(dashboard)
    return dashboard


def variables() -> list[builder.QueryVariable]:
    """Which load generator, which run, which populations."""
    return [
        several("job", "Job", "The scrape job of the load generator.", "label_values(tidemark_loadgen_build_info, job)"),
        several(
            "instance",
            "Instance",
            "The load generators of the run.",
            'label_values(tidemark_loadgen_build_info{job=~"$job"}, instance)',
        ),
        # One run at a time: figures of two runs do not add up. Ids begin with the time, so the first is the newest.
        choice("run", "Run", "The run, newest first.", f"label_values(tidemark_loadgen_valid{{{GENERATOR}}}, run)").sort(
            model.VariableSort.ALPHABETICAL_DESC
        ),
        several(
            "population",
            "Population",
            "The run's populations of connections.",
            f"label_values(tidemark_loadgen_connections_target{{{RUN}}}, population)",
        ),
    ]


def phases() -> builder.AnnotationQuery:
    """A mark where each phase of the run begins."""
    return (
        PhaseAnnotationBuilder()
        .name("Phases")
        .datasource(DATASOURCE)
        .enable(True)
        .icon_color("blue")
        .expr(f"tidemark_loadgen_phase_start_timestamp_seconds{{{RUN}}} * 1000")
    )


def verdict(dashboard: builder.Dashboard) -> None:
    """Can this run be believed, and did it keep what is promised?"""
    dashboard.with_row(builder.Row("Verdict and objectives"))
    dashboard.with_panel(
        figure(
            "Verdict",
            "Whether the run is valid so far. An INVALID run says nothing about the target; its report names the reasons.",
            "none",
            Query(f"min by (run) (tidemark_loadgen_valid{{{RUN}}})", "{{run}}"),
            STEP,
            [(None, "red"), (1, "green")],
            {"1": ("VALID", "green"), "0": ("INVALID", "red")},
        )
    )
    dashboard.with_panel(
        figure(
            "Rules of the run",
            "Whether the run so far keeps each of its --slo rules. A rule is absent while it is not judged, as in an INVALID run.",
            "none",
            Query(f"min by (rule) (tidemark_loadgen_slo_ok{{{RUN}}})", "{{rule}}"),
            STEP,
            [(None, "red"), (1, "green")],
            {"1": ("ok", "green"), "0": ("VIOLATED", "red")},
        )
    )
    dashboard.with_panel(
        figure(
            "Trusted up to percentile",
            "The highest percentile at which the generator's own lateness is a tenth of the response time or less. 100 is the "
            "maximum. A closed loop has no intended times, and so no limit.",
            "none",
            Query(f"min by (run) (tidemark_loadgen_trusted_percentile{{{RUN}}})", "{{run}}"),
            STEP,
            [(None, "red"), (50, "orange"), (99, "green")],
        )
    )
    dashboard.with_panel(
        figure(
            "Phase",
            "What the run is doing: connecting, warming up, measuring, draining, done.",
            "none",
            Query(f"max by (phase) (tidemark_loadgen_phase{{{RUN}}}) == 1", "{{phase}}"),
            STEP,
            [(None, "blue")],
            show_name=True,
        )
    )
    dashboard.with_panel(
        figure(
            "p99 within the objective",
            "Whether the slowest population's p99 of the last minute is within tidemark:slo_response_seconds.",
            "none",
            Query(
                f"max(population:tidemark_loadgen_response_seconds:p99_1m{{{POPULATION}}}) "
                "<= bool on () tidemark:slo_response_seconds",
                "within",
            ),
            STEP,
            [(None, "red"), (1, "green")],
            {"1": ("MET", "green"), "0": ("MISSED", "red")},
        )
    )
    dashboard.with_panel(
        figure(
            "Error budget burn",
            "The share of failed arrivals over five minutes, in multiples of what tidemark:slo_error_ratio allows, of the worst "
            "population. 1 uses the budget up exactly; alerts go off at 6 and 14.4.",
            "none",
            Query(
                f"max(population:tidemark_loadgen_error_ratio:rate5m{{{POPULATION}}}) / on () tidemark:slo_error_ratio",
                "burn",
            ),
            STEP,
            [(None, "green"), (1, "orange"), (6, "red")],
        )
    )
    dashboard.with_panel(
        figure(
            "Rate of the plan",
            "Arrivals that came due, as a share of the planned rate over all populations. Off by more than 1 % is INVALID. "
            "A closed loop has no planned rate.",
            "percentunit",
            Query(
                f'sum(rate(tidemark_loadgen_arrivals_total{{{POPULATION}, outcome="scheduled"}}[$__rate_interval])'
                f" and on (instance, run, population) tidemark_loadgen_arrivals_target_per_second{{{POPULATION}}})"
                f" / sum(tidemark_loadgen_arrivals_target_per_second{{{POPULATION}}})",
                "of plan",
            ),
            STEP,
            [(None, "red"), (0.99, "green"), (1.01, "red")],
        )
    )


def load(dashboard: builder.Dashboard) -> None:
    """What was asked of the target, and what came of it."""
    dashboard.with_row(builder.Row("Load"))
    dashboard.with_panel(
        graph(
            "Connections against target",
            "Connections that are open, and how many there should be once all have been opened.",
            "short",
            [
                Query(f"{BY_POPULATION} (tidemark_loadgen_connections_open{{{POPULATION}}})", "{{population}} open {{instance}}"),
                Query(f"{BY_POPULATION} (tidemark_loadgen_connections_target{{{POPULATION}}})", "{{population}} target {{instance}}"),
            ],
            STEP,
            Look(dashed=".* target .*", links=TO_SERVER),
        )
    )
    dashboard.with_panel(
        graph(
            "Rate against plan",
            "Arrivals that came due and those that were answered, a second, and the planned rate. Poisson arrivals scatter around it.",
            "reqps",
            [
                Query(arrivals("scheduled"), "{{population}} due {{instance}}"),
                Query(arrivals("completed"), "{{population}} answered {{instance}}"),
                Query(
                    f"{BY_POPULATION} (tidemark_loadgen_arrivals_target_per_second{{{POPULATION}}})",
                    "{{population}} plan {{instance}}",
                ),
            ],
            STEP,
            Look(dashed=".* plan .*"),
        )
    )
    dashboard.with_panel(
        graph(
            "Arrivals that did not complete",
            "Arrivals a second that failed, came too late, were still under way at the end, or were never sent.",
            "reqps",
            [
                Query(
                    f"sum by (instance, population, outcome) (rate(tidemark_loadgen_arrivals_total{{{POPULATION}, "
                    'outcome!~"scheduled|completed"}[$__rate_interval]))',
                    "{{population}} {{outcome}} {{instance}}",
                )
            ],
            STEP,
            Look(stacked=True),
        )
    )
    dashboard.with_panel(
        graph(
            "Errors by kind",
            "Errors a second of connections and exchanges, by kind.",
            "ops",
            [
                Query(
                    f"sum by (instance, population, kind) (rate(tidemark_loadgen_errors_total{{{POPULATION}}}[$__rate_interval]))",
                    "{{population}} {{kind}} {{instance}}",
                )
            ],
            STEP,
            Look(stacked=True, links=TO_SERVER),
        )
    )


def latency(dashboard: builder.Dashboard) -> None:
    """How long answers took, for each population by itself: a percentile of two populations together describes neither."""
    dashboard.with_row(builder.Row("Response time of $population").repeat("population"))
    dashboard.with_panel(
        heat(
            "Response time of $population, every response",
            "How many responses took how long, from the intended send time to the last byte. What a stalled target does is "
            "a stripe that leans to the left as it comes down.",
            f"sum by (le) (increase(tidemark_loadgen_response_seconds_bucket{{{POPULATION}}}[$__rate_interval]))",
            STEP,
        )
    )
    for kind, description in (
        ("response", "Exact percentiles of each interval, from the intended send time: what users would feel."),
        ("service", "Exact percentiles of each interval, from the actual send: what the target took, had nobody waited for it."),
    ):
        dashboard.with_panel(
            graph(
                f"{kind.capitalize()} time percentiles of $population",
                description,
                "s",
                quantiles(kind, QUANTILES, "{} {{{{instance}}}}"),
                STEP,
                Look(log_scale=True),
            )
        )


def parts(dashboard: builder.Dashboard) -> None:
    """Where a response time comes from besides the target's service."""
    dashboard.with_row(builder.Row("Lag, wait and connect"))
    legend = "{{{{population}}}} {} {{{{instance}}}}"
    for kind, title, description in (
        ("lag", "Generator lag", "Intended time to being taken up: the load generator's own lateness. Nothing of it is the target's."),
        ("wait", "Wait for a free connection", "Being taken up to being sent: every connection was busy. The target's doing, or too small a pool."),
        ("connect", "Connect time", "Time to open a connection. A second and more is a handshake that was dropped and sent again."),
    ):
        dashboard.with_panel(
            graph(
                title,
                f"{description} Exact percentiles of each interval.",
                "s",
                quantiles(kind, ("p50", "p99", "max"), legend),
                STEP,
                Look(log_scale=True),
            )
        )
    dashboard.with_panel(
        graph(
            "Lag as a share of the response time",
            "p99 of the lag over p99 of the response time, of the last minute. Above a tenth the tail is not the target's alone.",
            "percentunit",
            [
                Query(
                    f"population:tidemark_loadgen_lag_seconds:p99_1m{{{POPULATION}}} / "
                    f"population:tidemark_loadgen_response_seconds:p99_1m{{{POPULATION}}}",
                    "{{population}} {{instance}}",
                )
            ],
            STEP,
            Look(limit=0.1),
        )
    )
    dashboard.with_panel(
        graph(
            "Where the mean response time goes",
            "Means of lag, wait and service, which add up to the mean response time. For proportions only: a mean hides the tail.",
            "s",
            [Query(mean(kind), f"{{{{population}}}} {kind} {{{{instance}}}}") for kind in ("lag", "wait", "service")],
            STEP,
            Look(stacked=True),
        )
    )
    dashboard.with_panel(
        graph(
            "Connections opened",
            "Connections a second that were opened, at first and again.",
            "cps",
            [
                Query(
                    f"{BY_POPULATION} (rate(tidemark_loadgen_connect_seconds_count{{{POPULATION}}}[$__rate_interval]))",
                    "{{population}} {{instance}}",
                )
            ],
            STEP,
        )
    )


def objectives(dashboard: builder.Dashboard) -> None:
    """What the alerts look at."""
    dashboard.with_row(builder.Row("Objectives and anomalies"))
    dashboard.with_panel(
        graph(
            "Response p99 against the objective",
            "p99 of the last minute, the median of its last half hour, and tidemark:slo_response_seconds.",
            "s",
            [
                Query(f"population:tidemark_loadgen_response_seconds:p99_1m{{{POPULATION}}}", "{{population}} p99 {{instance}}"),
                Query(
                    f"population:tidemark_loadgen_response_seconds:p99_median_30m{{{POPULATION}}}",
                    "{{population}} median {{instance}}",
                ),
                Query("tidemark:slo_response_seconds", "objective"),
            ],
            STEP,
            Look(log_scale=True, dashed="objective"),
        )
    )
    dashboard.with_panel(
        graph(
            "Robust score of the response p99",
            "How far the p99 lies above the median of its last half hour, in robust standard deviations. The alert goes off at 6. "
            "There is none in the first five minutes.",
            "none",
            [Query(f"population:tidemark_loadgen_response_seconds:p99_robust_z{{{POPULATION}}}", "{{population}} {{instance}}")],
            STEP,
            Look(minimum=None, limit=6),
        )
    )
    dashboard.with_panel(
        graph(
            "Share of failed arrivals",
            "Over the windows of the burn alerts, and what tidemark:slo_error_ratio allows.",
            "percentunit",
            [
                Query(f"population:tidemark_loadgen_error_ratio:rate{window}{{{POPULATION}}}", f"{{{{population}}}} {window} {{{{instance}}}}")
                for window in ("5m", "30m", "1h", "6h")
            ]
            + [Query("tidemark:slo_error_ratio", "allowed")],
            STEP,
            Look(dashed="allowed"),
        )
    )


def generator(dashboard: builder.Dashboard) -> None:
    """Was the load generator itself short of anything?"""
    dashboard.with_row(builder.Row("Load generator process"))
    dashboard.with_panel(
        graph(
            "CPU of the load generator",
            "Cores in use. Pacing spins shortly before each intended time, so a busy core is not by itself a late one.",
            "none",
            [Query(own(f"rate(process_cpu_seconds_total{{{GENERATOR}}}[$__rate_interval])"), "{{instance}}")],
            STEP,
        )
    )
    dashboard.with_panel(
        graph(
            "Memory of the load generator",
            "Memory in RAM. It grows with connections and populations, not with time.",
            "bytes",
            [Query(own(f"process_resident_memory_bytes{{{GENERATOR}}}"), "{{instance}}")],
            STEP,
        )
    )
    dashboard.with_panel(
        graph(
            "Descriptors of the load generator",
            "Open descriptors and their limit, both summed over the descriptor tables of the process.",
            "short",
            [
                Query(own(f"process_open_fds{{{GENERATOR}}}"), "open {{instance}}"),
                Query(own(f"process_max_fds{{{GENERATOR}}}"), "limit {{instance}}"),
            ],
            STEP,
            Look(dashed="limit .*"),
        )
    )
