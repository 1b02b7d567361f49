//! `budgets.toml`: how much more of everything head may need. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::quantity::Quantity;

/// How much more head may need of a quantity.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// More by this part of base's.
    pub rise: f64,
    /// And by so many besides: what the count itself is uncertain by.
    pub slack: f64,
    /// Never more than this, whatever base needs: many small steps are a large one.
    pub most: f64,
    /// Why these.
    pub reason: String,
}

impl Budget {
    /// The most that head may need when base needs `base`. A base that is beyond [`Self::most`] already is not held against
    /// head, as long as that adds nothing.
    pub fn limit(&self, base: f64) -> f64 {
        (base * (1.0 + self.rise) + self.slack).min(self.most.max(base + self.slack))
    }
}

/// One for each quantity.
#[derive(Clone, Debug, PartialEq)]
pub struct Budgets(BTreeMap<Quantity, Budget>);

impl Budgets {
    /// Those of this project.
    ///
    /// # Panics
    /// Never: a test reads the same file.
    pub fn built_in() -> Self {
        Self::parse(include_str!("../../../budgets.toml")).unwrap_or_else(|why| panic!("budgets.toml: {why}"))
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// When it is not what it should be, with the place.
    pub fn parse(text: &str) -> Result<Self, String> {
        let budgets: BTreeMap<Quantity, Budget> = toml::from_str(text).map_err(|error| error.to_string())?;
        for quantity in Quantity::ALL {
            let name = quantity.name();
            let budget = budgets.get(&quantity).ok_or_else(|| format!("[{name}] is missing"))?;
            for (key, value) in [("rise", budget.rise), ("slack", budget.slack), ("most", budget.most)] {
                if !(value.is_finite() && value >= 0.0) {
                    return Err(format!("[{name}] {key} = {value}: must be 0 or more"));
                }
            }
            if budget.reason.trim().is_empty() {
                return Err(format!("[{name}] has no reason"));
            }
        }
        Ok(Self(budgets))
    }

    /// That of a quantity.
    ///
    /// # Panics
    /// Never: there is one for each.
    pub fn of(&self, quantity: Quantity) -> &Budget {
        &self.0[&quantity]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projects_own_is_whole() {
        Budgets::built_in();
    }

    #[test]
    fn a_limit_is_above_base_and_below_the_ceiling() {
        let budget = Budget { rise: 0.01, slack: 1.0, most: 500.0, reason: "a test".to_owned() };
        assert!((budget.limit(100.0) - 102.0).abs() < 1e-9);
        assert!((budget.limit(499.5) - 500.5).abs() < 1e-9, "near the ceiling only the slack is left");
        assert!((budget.limit(600.0) - 601.0).abs() < 1e-9, "what base was allowed is not head's fault");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let text = include_str!("../../../budgets.toml");
        let missing = text.replacen("[syscalls_per_echo]", "[syscalls_per_echoes]", 1);
        assert!(Budgets::parse(&missing).unwrap_err().contains("syscalls_per_echoes"));
        assert_eq!(Budgets::parse("").unwrap_err(), "[instructions_per_echo] is missing");
        let negative = text.replacen("rise = 0.005", "rise = -0.005", 1);
        assert!(Budgets::parse(&negative).unwrap_err().contains("must be 0 or more"));
        let unknown = text.replacen("rise = 0.005", "raise = 0.005", 1);
        assert!(Budgets::parse(&unknown).unwrap_err().contains("raise"));
        let no_reason = "[x]\n";
        assert!(Budgets::parse(no_reason).is_err());
    }
}
