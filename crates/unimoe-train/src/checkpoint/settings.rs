//! Comparing the settings of two runs.

use std::collections::BTreeSet;

use serde_json::Value;

/// The first setting that differs between `ours` and `theirs`, by its path, with both values as JSON; `None` where
/// all are equal. A setting that only one has is `absent` in the other.
pub(super) fn difference(ours: &Value, theirs: &Value) -> Option<(String, String, String)> {
    at(String::new(), Some(ours), Some(theirs))
}

fn at(
    path: String,
    ours: Option<&Value>,
    theirs: Option<&Value>,
) -> Option<(String, String, String)> {
    match (ours, theirs) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            keys.into_iter().find_map(|key| {
                let path = match path.as_str() {
                    "" => key.clone(),
                    path => format!("{path}.{key}"),
                };
                at(path, a.get(key), b.get(key))
            })
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => (0..a.len().max(b.len()))
            .find_map(|index| at(format!("{path}[{index}]"), a.get(index), b.get(index))),
        _ if same(ours, theirs) => None,
        _ => Some((path, text(ours), text(theirs))),
    }
}

/// Whether two values are equal; fractions up to the last digit, which JSON may lose.
fn same(ours: Option<&Value>, theirs: Option<&Value>) -> bool {
    let fraction = |value: Option<&Value>| value.filter(|v| v.is_f64()).and_then(Value::as_f64);
    match (fraction(ours), fraction(theirs)) {
        (Some(a), Some(b)) => (a - b).abs() <= 4.0 * f64::EPSILON * a.abs(),
        _ => ours == theirs,
    }
}

fn text(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".into(), Value::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_difference_is_named_by_its_path() {
        let ours = json!({"a": 1, "b": {"c": [1, 2], "d": "x"}});
        let with = |change: Value| {
            let mut theirs = ours.clone();
            theirs["b"] = change;
            difference(&ours, &theirs)
        };
        let said = |path: &str, a: &str, b: &str| Some((path.into(), a.into(), b.into()));
        assert_eq!(difference(&ours, &ours), None);
        assert_eq!(
            with(json!({"c": [1, 3], "d": "y"})),
            said("b.c[1]", "2", "3")
        );
        assert_eq!(
            with(json!({"c": [1], "d": "x"})),
            said("b.c[1]", "2", "absent")
        );
        assert_eq!(
            with(json!({"c": [1, 2], "d": null})),
            said("b.d", "\"x\"", "null")
        );
        assert_eq!(with(json!(7)), said("b", "{\"c\":[1,2],\"d\":\"x\"}", "7"));
    }

    #[test]
    fn a_number_is_equal_after_its_way_through_json() {
        let text = "0.30000000000000004";
        let ours = json!(0.1 + 0.2);
        let theirs: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(difference(&ours, &theirs), None);
        assert!(difference(&json!(1), &json!(1.000001)).is_some());
        // Whole numbers count to the last digit.
        let large = 1u64 << 60;
        assert!(difference(&json!(large), &json!(large + 1)).is_some());
    }
}
