//! `series.csv`: the series of a report for spreadsheets and plots, a line for each row and population.

use std::fmt::Write as _;

use super::{Series, SeriesRow};

/// The columns are the fields of a row, by their names; a field that is not listed does not compile.
macro_rules! columns {
    ($($field:ident),*) => {
        const HEADER: &str = concat!("population", $(",", stringify!($field)),*);

        fn line(out: &mut String, population: &str, row: &SeriesRow) {
            let SeriesRow { $($field),* } = row;
            out.push_str(population);
            // Writing to a String cannot fail.
            $(let _ = write!(out, ",{}", $field);)*
            out.push('\n');
        }
    };
}

columns!(
    t_s,
    connections_open,
    scheduled,
    completed,
    errored,
    timed_out,
    response_p50_ns,
    response_p99_ns,
    response_max_ns,
    service_p50_ns,
    service_p99_ns,
    lag_p50_ns,
    lag_p99_ns,
    lag_max_ns
);

/// Renders the series, one population after the other. Names of populations have no comma, quote or line break.
pub fn render(series: &[Series]) -> String {
    let mut out = format!("{HEADER}\n");
    for of in series {
        for row in &of.rows {
            line(&mut out, &of.population, row);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_interval_and_population() {
        let row =
            |t_s, completed| SeriesRow { t_s, completed, response_p99_ns: 1_234_567, ..SeriesRow::default() };
        let series = [
            Series { population: "active".to_owned(), rows: vec![row(1.0, 10), row(2.0, 20)] },
            Series { population: "heartbeat".to_owned(), rows: vec![row(2.0, 1)] },
        ];
        insta::assert_snapshot!(render(&series));
    }

    #[test]
    fn the_columns_are_the_fields_of_report_json() {
        let row = serde_json::to_value(SeriesRow::default()).unwrap();
        let mut fields: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        let mut columns: Vec<&str> = HEADER.split(',').skip(1).collect();
        fields.sort_unstable();
        columns.sort_unstable();
        assert_eq!(columns, fields);
    }
}
