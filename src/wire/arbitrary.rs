//! Random values for the property tests.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::Metadata;

/// Any JSON value, a few levels deep. Numbers are such that they survive being written and read.
pub(super) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(|flag| json!(flag)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<i32>().prop_map(|number| json!(f64::from(number) / 8.0)),
        Just(json!(1e300)),
        any::<String>().prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Any JSON object.
pub(super) fn object() -> impl Strategy<Value = Map<String, Value>> {
    btree_map("[a-z_]{1,8}", value(), 0..4).prop_map(|map| map.into_iter().collect())
}

/// An acceptable id of a peer or a room.
pub(super) fn id() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{1,20}"
}

/// An acceptable id of a job.
pub(super) fn job_id() -> impl Strategy<Value = String> {
    "[^\\p{Cc}:]{1,20}"
}

/// Any metadata.
pub(super) fn metadata() -> impl Strategy<Value = Metadata> {
    let parts = (vec(any::<String>(), 0..3), object());
    parts.prop_map(|(tags, properties)| Metadata { tags, properties })
}

/// Text or nothing.
pub(super) fn maybe_text() -> impl Strategy<Value = Option<String>> {
    option::of(any::<String>())
}

/// An object with some of the named fields holding anything, or what they might hold.
pub(super) fn almost(
    kind_field: &'static str,
    kinds: &'static [&'static str],
    fields: &'static [&'static str],
) -> impl Strategy<Value = Value> {
    let content = prop_oneof![
        value(),
        id().prop_map(Value::String),
        object().prop_map(Value::Object)
    ];
    let field = (proptest::sample::select(fields), content);
    (proptest::sample::select(kinds), vec(field, 0..8)).prop_map(move |(kind, fields)| {
        let mut map: Map<String, Value> = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        map.insert(kind_field.to_owned(), json!(kind));
        Value::Object(map)
    })
}
