//! Families and series in the form that the encoder takes.

use prometheus::proto;

use super::table::{Family, Kind};

/// One series of `family` with its label values in the order of the table.
pub(super) fn sample(family: &Family, label_values: &[&str], value: f64) -> proto::Metric {
    let labels = family.labels.iter().zip(label_values).map(|(name, value)| {
        let mut label = proto::LabelPair::default();
        label.set_name((*name).to_owned());
        label.set_value((*value).to_owned());
        label
    });
    let mut metric = proto::Metric::from_label(labels.collect());
    match family.kind {
        Kind::Counter => {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        }
        Kind::Gauge | Kind::Histogram => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
    }
    metric
}

/// A family with its series. One without any is left out of a scrape.
pub(super) fn filled(family: &Family, series: Vec<proto::Metric>) -> proto::MetricFamily {
    let mut filled = proto::MetricFamily::default();
    filled.set_name(family.name.to_owned());
    filled.set_help(family.help.to_owned());
    filled.set_field_type(match family.kind {
        Kind::Counter => proto::MetricType::COUNTER,
        Kind::Gauge => proto::MetricType::GAUGE,
        Kind::Histogram => proto::MetricType::HISTOGRAM,
    });
    filled.set_metric(series);
    filled
}

/// A family without labels.
pub(super) fn single(family: &Family, value: f64) -> proto::MetricFamily {
    filled(family, vec![sample(family, &[], value)])
}

/// The same, absent when there is no value: 0 would be a claim.
pub(super) fn optional(family: &Family, value: Option<f64>) -> proto::MetricFamily {
    filled(family, value.map(|value| sample(family, &[], value)).into_iter().collect())
}
