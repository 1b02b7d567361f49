//! The table of names.

use super::Family;

/// Every metric of a program that is its own.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Whose. `docs/metrics.md` has the rows between two marks of this name.
    pub owner: &'static str,
    /// The metrics, in the order of the page.
    pub rows: &'static [Family],
}

impl Table {
    /// The metric of that name.
    pub fn find(&self, name: &str) -> Option<&'static Family> {
        self.rows.iter().find(|row| row.name == name)
    }
}

/// Makes a table of names: a constant for each row, for the code that fills it, and `TABLE` with all of them.
///
/// ```
/// mod table {
///     tidemark_program::metrics_table! {
///         "tidemark-example":
///         OPEN = Gauge "tidemark_example_open" "connections" ["population"]
///             "Connections that are open now.";
///     }
/// }
/// assert_eq!(table::TABLE.rows, [table::OPEN]);
/// ```
#[macro_export]
macro_rules! metrics_table {
    ($owner:literal: $($row:ident = $kind:ident $name:literal $unit:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $row: $crate::metrics::Family = $crate::metrics::Family {
            name: $name,
            help: $help,
            kind: $crate::metrics::Kind::$kind,
            unit: $unit,
            labels: &[$($label),*],
        };)*
        /// Every row. Dashboards and rules build on these names.
        pub const TABLE: $crate::metrics::Table = $crate::metrics::Table { owner: $owner, rows: &[$($row),*] };
    };
}
