//! A metric, and its series in the form that the encoder takes.

use prometheus::proto;

/// One row of a table of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// The metric's name, with its unit last.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// How it is to be read.
    pub kind: Kind,
    /// What one of it is.
    pub unit: &'static str,
    /// The labels that its series carry, besides `le` of a histogram and `quantile` of a summary.
    pub labels: &'static [&'static str],
}

/// A metric's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts per bucket, and a sum.
    Histogram,
    /// Quantiles of the newest values, and count and sum of all.
    Summary,
}

impl Kind {
    /// The name in the text format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }

    pub(super) const fn field_type(self) -> proto::MetricType {
        match self {
            Self::Counter => proto::MetricType::COUNTER,
            Self::Gauge => proto::MetricType::GAUGE,
            Self::Histogram => proto::MetricType::HISTOGRAM,
            Self::Summary => proto::MetricType::SUMMARY,
        }
    }
}

impl Family {
    /// A series without a value yet: for a histogram or summary, which is set on it. The label values are in the order
    /// of the table.
    pub fn series(&self, label_values: &[&str]) -> proto::Metric {
        let labels = self.labels.iter().zip(label_values).map(|(name, value)| {
            let mut label = proto::LabelPair::default();
            label.set_name((*name).to_owned());
            label.set_value((*value).to_owned());
            label
        });
        proto::Metric::from_label(labels.collect())
    }

    /// A series of a counter or gauge.
    pub fn sample(&self, label_values: &[&str], value: f64) -> proto::Metric {
        let mut metric = self.series(label_values);
        if self.kind == Kind::Counter {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        metric
    }

    /// The family with its series. One without any is left out of a scrape.
    pub fn filled(&self, series: Vec<proto::Metric>) -> proto::MetricFamily {
        let mut filled = proto::MetricFamily::default();
        filled.set_name(self.name.to_owned());
        filled.set_help(self.help.to_owned());
        filled.set_field_type(self.kind.field_type());
        filled.set_metric(series);
        filled
    }

    /// A counter or gauge of one series without labels.
    pub fn single(&self, value: f64) -> proto::MetricFamily {
        self.filled(vec![self.sample(&[], value)])
    }

    /// The same, absent when there is no value: 0 would be a claim.
    pub fn optional(&self, value: Option<f64>) -> proto::MetricFamily {
        self.filled(value.map(|value| self.sample(&[], value)).into_iter().collect())
    }
}
