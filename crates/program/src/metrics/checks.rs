//! What a table of names is held to, for the unit tests of the program that has it. Each check returns what is wrong, one
//! sentence each.

use prometheus::core::Desc;
use prometheus::proto::{LabelPair, MetricFamily};

use super::{Family, Kind, Table};

/// The naming conventions of Prometheus, and that no name is there twice.
pub fn names(table: &Table) -> Vec<String> {
    table.rows.iter().enumerate().flat_map(|(index, row)| name(row, &table.rows[..index])).collect()
}

fn name(row: &Family, earlier: &[Family]) -> Vec<String> {
    let Family { name, help, kind, unit, labels } = *row;
    let base = name.strip_suffix("_total").unwrap_or(name);
    let has_unit = ["bytes", "seconds"].iter().all(|word| base.ends_with(word) == unit.starts_with(word));
    let is_reserved = |label: &&str| ["le", "quantile", "job", "instance"].contains(label);
    let owned = labels.iter().map(|&label| label.to_owned()).collect();
    let invalid = Desc::new(name.to_owned(), help.to_owned(), owned, [].into()).err();
    let rules = [
        (earlier.iter().all(|other| other.name != name), "is there twice".to_owned()),
        ((kind == Kind::Counter) == name.ends_with("_total"), format!("is a {}", kind.name())),
        (has_unit && !unit.is_empty(), format!("is in {unit:?}")),
        (help.ends_with('.'), "has a help text that does not end with a period".to_owned()),
        (!labels.iter().any(is_reserved), format!("has a label that a scrape adds, of {labels:?}")),
        (invalid.is_none(), invalid.map(|error| error.to_string()).unwrap_or_default()),
    ];
    rules.into_iter().filter(|(holds, _)| !holds).map(|(_, wrong)| format!("{name} {wrong}")).collect()
}

/// That `page` (`docs/metrics.md`) has the table as it is, between its two marks.
pub fn page(table: &Table, page: &str) -> Vec<String> {
    let section = section(table);
    if page.contains(&section) {
        vec![]
    } else {
        vec![format!("docs/metrics.md must have this:\n{section}\n")]
    }
}

fn section(table: &Table) -> String {
    let rows = table.rows.iter().map(|Family { name, help, kind, unit, labels }| {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{name}` | {} | {} | {unit} | {help} |", kind.name(), labels.join(", "))
    });
    let head = [
        format!("<!-- {}: made from its table of names -->", table.owner),
        "| name | type | labels | unit | meaning |".to_owned(),
        "|---|---|---|---|---|".to_owned(),
    ];
    let end = format!("<!-- end of {} -->", table.owner);
    head.into_iter().chain(rows).chain([end]).collect::<Vec<_>>().join("\n")
}

/// That every row of the tables is exported once and as it is declared, and nothing else. Families without series are
/// not exported.
pub fn exported(tables: &[Table], families: &[MetricFamily]) -> Vec<String> {
    let families: Vec<_> = families.iter().filter(|family| !family.get_metric().is_empty()).collect();
    let rows: Vec<_> = tables.iter().flat_map(|table| table.rows).collect();
    let unknown = families.iter().filter(|family| rows.iter().all(|row| row.name != family.name()));
    let mut wrong: Vec<_> = unknown.map(|family| format!("{} is in no table", family.name())).collect();
    for row in rows {
        let of_row: Vec<_> = families.iter().filter(|family| family.name() == row.name).collect();
        match of_row[..] {
            [family] => wrong.extend(declared(row, family)),
            _ => wrong.push(format!("{} is exported {} times", row.name, of_row.len())),
        }
    }
    wrong
}

fn declared(row: &Family, family: &MetricFamily) -> Vec<String> {
    let (name, kind) = (row.name, family.get_field_type());
    let mut wrong = vec![];
    if kind != row.kind.field_type() {
        wrong.push(format!("{name} is exported as {kind:?}"));
    }
    if family.help() != row.help {
        wrong.push(format!("{name} is exported with the help text {:?}", family.help()));
    }
    for metric in family.get_metric() {
        let labels: Vec<_> = metric.get_label().iter().map(LabelPair::name).collect();
        if labels != row.labels {
            wrong.push(format!("{name} is exported with the labels {labels:?}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Family = Family {
        name: "tidemark_read_bytes_total",
        help: "What was read.",
        kind: Kind::Counter,
        unit: "bytes",
        labels: &["reason"],
    };

    fn table(row: Family) -> Table {
        Table { owner: "example", rows: Vec::leak(vec![row]) }
    }

    #[test]
    fn a_name_by_the_conventions_has_nothing_wrong() {
        assert_eq!(names(&table(GOOD)), Vec::<String>::new());
    }

    #[test]
    fn each_convention_is_held_to() {
        for (row, wrong) in [
            (Family { kind: Kind::Gauge, ..GOOD }, "is a gauge"),
            (Family { name: "tidemark_read_bytes", ..GOOD }, "is a counter"),
            (Family { name: "tidemark_read_total", ..GOOD }, "is in \"bytes\""),
            (Family { unit: "connections", ..GOOD }, "is in \"connections\""),
            (Family { name: "tidemark_reads_total", unit: "", ..GOOD }, "is in \"\""),
            (Family { help: "What was read", ..GOOD }, "does not end with a period"),
            (Family { labels: &["quantile"], ..GOOD }, "a label that a scrape adds"),
            (Family { name: "tidemark read bytes_total", ..GOOD }, "is not a valid metric name"),
        ] {
            let told = names(&table(row));
            assert!(told.len() == 1 && told[0].contains(wrong), "{told:?} for {wrong}");
        }
        let twice = Table { owner: "example", rows: &[GOOD, GOOD] };
        assert_eq!(names(&twice), ["tidemark_read_bytes_total is there twice"]);
    }

    #[test]
    fn a_page_has_every_row_and_nothing_between() {
        let rows = "| name | type | labels | unit | meaning |\n|---|---|---|---|---|\n\
                    | `tidemark_read_bytes_total` | counter | `reason` | bytes | What was read. |\n";
        let marked = format!("<!-- example: made from its table of names -->\n{rows}<!-- end of example -->");
        assert_eq!(page(&table(GOOD), &format!("# Metrics\n{marked}\n")), Vec::<String>::new());
        let old = marked.replace("What was read.", "What was written.");
        let longer = marked.replace("<!-- end", "| `tidemark_gone` | gauge |  | 1 | Gone. |\n<!-- end");
        for wrong in [String::new(), old, longer] {
            assert!(page(&table(GOOD), &wrong)[0].contains(&marked), "{wrong}");
        }
    }

    #[test]
    fn what_is_exported_is_what_is_declared() {
        let of = |row: Family| row.filled(vec![row.sample(&["full"], 1.0)]);
        let tables = [table(GOOD)];
        assert_eq!(exported(&tables, &[of(GOOD)]), Vec::<String>::new());
        for (families, wrong) in [
            (vec![], "is exported 0 times"),
            (vec![GOOD.filled(vec![])], "is exported 0 times"),
            (vec![of(GOOD), of(GOOD)], "is exported 2 times"),
            (vec![of(GOOD), of(Family { name: "other", ..GOOD })], "other is in no table"),
            (vec![of(Family { kind: Kind::Gauge, ..GOOD })], "is exported as GAUGE"),
            (vec![of(Family { help: "?", ..GOOD })], "is exported with the help text \"?\""),
            (vec![of(Family { labels: &["kind"], ..GOOD })], "is exported with the labels [\"kind\"]"),
        ] {
            let told = exported(&tables, &families);
            assert!(told.len() == 1 && told[0].contains(wrong), "{told:?} for {wrong}");
        }
    }
}
