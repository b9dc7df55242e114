//! What `discover_peers` finds (signalling-server.md, 2b): filters that never fail on what a peer wrote about itself.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

/// Tags that a filter, or a peer, may name. It bounds the work of a comparison of the two lists.
pub(super) const TAGS: usize = 64;

/// Parsed filters. All of them must hold; an absent one always holds.
#[derive(Debug, Default)]
pub(super) struct Filters<'a> {
    role: Option<&'a Value>,
    tags: Option<&'a [Value]>,
    properties: Option<&'a Map<String, Value>>,
}

impl<'a> Filters<'a> {
    /// Reads the `filters` of a frame. `null`, for the whole or for one of them, means none; unknown keys (clients
    /// send `room_id`) are ignored, since the scope is always the asker's room. The error says what is malformed.
    pub(super) fn parse(filters: Option<&'a Value>) -> Result<Self, &'static str> {
        let filters = match filters {
            None | Some(Value::Null) => return Ok(Filters::default()),
            Some(Value::Object(filters)) => filters,
            Some(_) => return Err("filters must be an object"),
        };
        let given = |key| filters.get(key).filter(|value: &&Value| !value.is_null());
        Ok(Filters {
            role: given("role"),
            tags: match given("tags") {
                None => None,
                Some(Value::Array(tags)) if tags.len() <= TAGS => Some(tags),
                Some(Value::Array(_)) => return Err("filters.tags has more than 64 entries"),
                Some(_) => return Err("filters.tags must be a list"),
            },
            properties: match given("properties") {
                None => None,
                Some(Value::Object(properties)) => Some(properties),
                Some(_) => return Err("filters.properties must be an object"),
            },
        })
    }

    /// Whether a peer matches: `role` exactly, any of `tags` (an empty list matches nobody), all of `properties`.
    pub(super) fn matches(&self, role: &str, metadata: &Map<String, Value>) -> bool {
        self.role.is_none_or(|wanted| wanted.as_str() == Some(role))
            && self.tags.is_none_or(|wanted| {
                let tags = metadata.get("tags").and_then(Value::as_array);
                tags.is_some_and(|tags| {
                    wanted
                        .iter()
                        .any(|tag| tags.iter().any(|own| equal(tag, own)))
                })
            })
            && self.properties.is_none_or(|wanted| {
                let properties = metadata.get("properties").and_then(Value::as_object);
                wanted.iter().all(|(key, condition)| {
                    holds(condition, properties.and_then(|own| own.get(key)))
                })
            })
    }
}

/// Whether one property condition holds. An object is read as operators, all of which must hold; operators other than
/// `$gte`, `$lte` and `$eq` are ignored. Anything else is a literal; `null` matches an absent key.
fn holds(condition: &Value, value: Option<&Value>) -> bool {
    let Value::Object(operators) = condition else {
        return equal(condition, value.unwrap_or(&Value::Null));
    };
    let bounded = |bound: &Value, wanted: Ordering| {
        let order = value.and_then(|value| compare(value, bound));
        order.is_some_and(|order| order == wanted || order == Ordering::Equal)
    };
    operators
        .iter()
        .all(|(operator, operand)| match operator.as_str() {
            "$gte" => bounded(operand, Ordering::Greater),
            "$lte" => bounded(operand, Ordering::Less),
            "$eq" => equal(operand, value.unwrap_or(&Value::Null)),
            _ => true,
        })
}

/// Equality as the original's Python has it: `1 == 1.0 == true`, lists and objects member by member.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => a.order(&b) == Some(Ordering::Equal),
            _ => false,
        },
    }
}

/// The order of two numbers or two strings; none for anything else, which then fails its bound.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => number(a)?.order(&number(b)?),
    }
}

/// A number as Python sees it: a truth value is 0 or 1, and whole numbers keep their precision.
enum Num {
    Whole(i128),
    Real(f64),
}

fn number(value: &Value) -> Option<Num> {
    match value {
        Value::Bool(truth) => Some(Num::Whole(i128::from(*truth))),
        Value::Number(number) => whole(number)
            .map(Num::Whole)
            .or_else(|| number.as_f64().map(Num::Real)),
        _ => None,
    }
}

fn whole(number: &Number) -> Option<i128> {
    number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
}

impl Num {
    fn order(&self, other: &Num) -> Option<Ordering> {
        match (self, other) {
            (Num::Whole(a), Num::Whole(b)) => Some(a.cmp(b)),
            (a, b) => a.real().partial_cmp(&b.real()),
        }
    }

    // Precision past 2^53 is lost only in a comparison with a number that never had it.
    fn real(&self) -> f64 {
        match self {
            Num::Whole(whole) => *whole as f64,
            Num::Real(real) => *real,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn finds(filters: Value, metadata: Value) -> bool {
        let metadata = metadata.as_object().unwrap();
        Filters::parse(Some(&filters))
            .unwrap()
            .matches("worker", metadata)
    }

    fn worker() -> Value {
        json!({"tags": ["sleap-rtc", "training-worker"],
            "properties": {"gpu_memory_mb": 16384, "status": "available", "supported_models": ["base"], "score": 1.5}})
    }

    #[test]
    fn every_filter_of_the_protocol_page() {
        let cases = [
            (json!({}), true),
            (json!(null), true),
            (json!({"role": "worker"}), true),
            (json!({"role": "client"}), false),
            (
                json!({"role": null, "tags": null, "properties": null}),
                true,
            ),
            (json!({"room_id": "elsewhere"}), true),
            (json!({"tags": ["zzz", "sleap-rtc"]}), true),
            (json!({"tags": ["zzz"]}), false),
            (json!({"tags": []}), false),
            (json!({"properties": {"status": "available"}}), true),
            (json!({"properties": {"status": "busy"}}), false),
            (
                json!({"properties": {"gpu_memory_mb": {"$gte": 16384}}}),
                true,
            ),
            (
                json!({"properties": {"gpu_memory_mb": {"$gte": 16384.5}}}),
                false,
            ),
            (
                json!({"properties": {"gpu_memory_mb": {"$lte": 16384}}}),
                true,
            ),
            (
                json!({"properties": {"gpu_memory_mb": {"$gte": 9000, "$lte": 12000}}}),
                false,
            ),
            (
                json!({"properties": {"gpu_memory_mb": {"$eq": 16384.0}}}),
                true,
            ),
            (
                json!({"properties": {"gpu_memory_mb": {"$gt": 99999999}}}),
                true,
            ),
            (
                json!({"properties": {"gpu_memory_mb": {"$gte": "8192"}}}),
                false,
            ),
            (json!({"properties": {"missing": {"$gte": 1}}}), false),
            (json!({"properties": {"missing": {"$lte": 1}}}), false),
            (json!({"properties": {"missing": null}}), true),
            (json!({"properties": {"missing": {"$eq": null}}}), true),
            (json!({"properties": {"supported_models": ["base"]}}), true),
            (
                json!({"properties": {"supported_models": ["base", "x"]}}),
                false,
            ),
            (
                json!({"properties": {"status": {"$gte": "availabl", "$lte": "availablf"}}}),
                true,
            ),
            (json!({"properties": {"score": {"$lte": 2}}}), true),
        ];
        for (filters, found) in cases {
            assert_eq!(finds(filters.clone(), worker()), found, "{filters}");
        }
    }

    #[test]
    fn numbers_are_equal_as_in_python() {
        for (a, b, same) in [
            (json!(1), json!(1.0), true),
            (json!(1), json!(true), true),
            (json!(0.0), json!(false), true),
            (json!(2), json!(true), false),
            (
                json!(9007199254740993i64),
                json!(9007199254740992i64),
                false,
            ),
            (json!(u64::MAX), json!(-1), false),
            (
                json!({"a": [1, {"b": true}]}),
                json!({"a": [1.0, {"b": 1}]}),
                true,
            ),
            (json!("1"), json!(1), false),
            (json!(null), json!(false), false),
        ] {
            assert_eq!(equal(&a, &b), same, "{a} {b}");
            assert_eq!(equal(&b, &a), same, "{b} {a}");
        }
    }

    #[test]
    fn malformed_filters_are_named() {
        for bad in [
            json!([]),
            json!("x"),
            json!({"tags": "x"}),
            json!({"properties": []}),
            json!({"tags": vec![1; 65]}),
        ] {
            assert!(Filters::parse(Some(&bad)).is_err(), "{bad}");
        }
    }

    /// Any JSON, with the keys and operators that mean something more likely than others.
    pub(in crate::hub) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-c]{0,3}".prop_map(Value::from),
        ];
        let key = prop_oneof![
            Just("tags".to_owned()),
            Just("properties".to_owned()),
            Just("role".to_owned()),
            Just("$gte".to_owned()),
            Just("$eq".to_owned()),
            "[a-c]{0,3}",
        ];
        leaf.prop_recursive(4, 48, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::vec((key.clone(), inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn filters_never_panic(filters in any_json(), metadata in any_json(), role in "[a-c]{0,3}") {
            if let (Ok(filters), Value::Object(metadata)) = (Filters::parse(Some(&filters)), &metadata) {
                filters.matches(&role, metadata);
            }
        }

        #[test]
        fn equality_is_reflexive_and_symmetric(a in any_json(), b in any_json()) {
            prop_assert!(equal(&a, &a));
            prop_assert_eq!(equal(&a, &b), equal(&b, &a));
        }

        #[test]
        fn a_peer_is_found_by_its_own_literals(metadata in any_json()) {
            if let Some(own) = metadata.get("properties").and_then(Value::as_object) {
                let wanted = own.iter().filter(|(_, value)| !value.is_object());
                let wanted: Map<_, _> = wanted.map(|(key, value)| (key.clone(), value.clone())).collect();
                let filters = json!({"properties": wanted});
                let metadata = metadata.as_object().unwrap();
                prop_assert!(Filters::parse(Some(&filters)).unwrap().matches("x", metadata));
            }
        }
    }
}
