//! What is different in two plans or two hosts, told by the path to each figure.

use serde::Serialize;
use serde_json::Value;

use super::Report;

/// More are not told one by one.
const TOLD_MAX: usize = 6;
/// Longer values are not told in full.
const VALUE_CHARS_MAX: usize = 40;

/// What is different in the plans of two runs, but for the seed and the notes: those are meant to be.
pub fn of_plans(one: &Report, other: &Report) -> Option<String> {
    let plan = |report: &Report| {
        let mut plan = report.plan.clone();
        if let Value::Object(fields) = &mut plan {
            fields.retain(|name, _| !matches!(name.as_str(), "seed" | "notes"));
        }
        plan
    };
    told(&differences(&plan(one), &plan(other)))
}

/// What is different in the machines that two generators ran on.
pub fn of_hosts(one: &Report, other: &Report) -> Option<String> {
    let host = |report: &Report| to_value(&report.host);
    told(&differences(&host(one), &host(other)))
}

fn to_value(content: &impl Serialize) -> Value {
    serde_json::to_value(content).unwrap_or_default()
}

/// The differences in one line; `None` when there are none.
fn told(differences: &[String]) -> Option<String> {
    let (shown, more) = differences.split_at(differences.len().min(TOLD_MAX));
    match (shown.is_empty(), more.len()) {
        (true, _) => None,
        (false, 0) => Some(shown.join("; ")),
        (false, more) => Some(format!("{}; and {more} more", shown.join("; "))),
    }
}

fn differences(one: &Value, other: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk("", one, other, &mut found);
    found
}

fn walk(path: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(left), Value::Object(right)) => {
            let only_right = right.keys().filter(|name| !left.contains_key(*name));
            for name in left.keys().chain(only_right) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let of =
                    |fields: &serde_json::Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
                walk(&path, &of(left), &of(right), found);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (one, other)) in left.iter().zip(right).enumerate() {
                walk(&format!("{path}[{index}]"), one, other, found);
            }
        }
        _ if one == other => {}
        _ => found.push(format!("{path} {} and {}", short(one), short(other))),
    }
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_is_told_with_its_path() {
        let one =
            json!({"workers": 2, "populations": [{"name": "main", "rate": 100.0}], "pin": null, "slo": []});
        let other = json!({"workers": 2, "populations": [{"name": "main", "rate": 200.0}], "pin": "0-1", "slo": ["x"]});
        let told = told(&differences(&one, &other)).unwrap();
        assert_eq!(told, "pin none and 0-1; populations[0].rate 100.0 and 200.0; slo [] and [\"x\"]");
        assert_eq!(super::told(&differences(&one, &one)), None);
    }

    #[test]
    fn many_and_long_ones_are_cut_short() {
        let list = |first: u32| {
            json!((first..first + 10).map(|number| number.to_string().repeat(50)).collect::<Vec<_>>())
        };
        let told = told(&differences(&list(0), &list(1))).unwrap();
        assert!(told.ends_with("...; and 4 more"), "{told}");
        assert!(told.contains(&format!("[0] {}... and {}...", "0".repeat(40), "1".repeat(40))), "{told}");
    }
}
