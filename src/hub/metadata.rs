//! How a peer's metadata changes (signalling-server.md, 2d.7): an update is a merge, so nothing it does not name is
//! lost. The original loses a worker's tags at its first status update.

use serde_json::{Map, Value, map::Entry};

use super::filter::{TAGS, equal};

/// Lays `update` over `old`: keys not sent are kept; `tags` become the union, in order; `properties` are overlaid one
/// level deep, an explicit `null` being stored as `null`; any other key is replaced. `tags` or `properties` that are
/// `null` count as not sent. The error says what is malformed, and `old` is unchanged then.
pub(super) fn merge(
    old: &Map<String, Value>,
    update: &Map<String, Value>,
) -> Result<Map<String, Value>, &'static str> {
    let mut merged = old.clone();
    for (key, value) in update {
        match (key.as_str(), value) {
            ("tags" | "properties", Value::Null) => {}
            ("tags", Value::Array(tags)) => union(&mut merged, tags)?,
            ("tags", _) => return Err("metadata.tags must be a list"),
            ("properties", Value::Object(properties)) => overlay(&mut merged, properties),
            ("properties", _) => return Err("metadata.properties must be an object"),
            _ => {
                merged.insert(key.clone(), value.clone());
            }
        }
    }
    Ok(merged)
}

fn union(merged: &mut Map<String, Value>, tags: &[Value]) -> Result<(), &'static str> {
    let Value::Array(all) = merged
        .entry("tags")
        .or_insert_with(|| Value::Array(Vec::new()))
    else {
        return Err("metadata.tags must be a list");
    };
    for tag in tags {
        if !all.iter().any(|known| equal(known, tag)) {
            // Checked at each step, since the comparisons of a long list are what costs.
            if all.len() >= TAGS {
                return Err("metadata.tags has more than 64 entries");
            }
            all.push(tag.clone());
        }
    }
    Ok(())
}

fn overlay(merged: &mut Map<String, Value>, properties: &Map<String, Value>) {
    match merged.entry("properties") {
        Entry::Occupied(mut entry) => {
            if let Value::Object(all) = entry.get_mut() {
                all.extend(
                    properties
                        .iter()
                        .map(|(key, value)| (key.clone(), value.clone())),
                );
            }
        }
        Entry::Vacant(entry) => {
            entry.insert(Value::Object(properties.clone()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::filter::tests::any_json;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn merged(old: Value, update: Value) -> Result<Value, &'static str> {
        merge(old.as_object().unwrap(), update.as_object().unwrap()).map(Value::Object)
    }

    #[test]
    fn a_status_update_keeps_the_tags() {
        let old = json!({"tags": ["sleap-rtc"], "properties": {"status": "available", "gpu": "x"}, "note": 1});
        let new = merged(
            old,
            json!({"properties": {"status": "busy", "current_job_id": "j1"}}),
        )
        .unwrap();
        let kept = json!({"tags": ["sleap-rtc"], "note": 1,
            "properties": {"status": "busy", "gpu": "x", "current_job_id": "j1"}});
        assert_eq!(new, kept);
        let new = merged(new, json!({"properties": {"current_job_id": null}})).unwrap();
        assert_eq!(new["properties"]["current_job_id"], Value::Null);
        assert!(
            new["properties"]
                .as_object()
                .unwrap()
                .contains_key("current_job_id"),
            "stored, not removed"
        );
    }

    #[test]
    fn tags_are_a_union_in_order() {
        let new = merged(
            json!({"tags": ["b", "a"]}),
            json!({"tags": ["c", "a", "c"]}),
        )
        .unwrap();
        assert_eq!(new, json!({"tags": ["b", "a", "c"]}));
        assert_eq!(
            merged(json!({"tags": ["a"]}), json!({"tags": null})).unwrap(),
            json!({"tags": ["a"]})
        );
    }

    #[test]
    fn properties_are_overlaid_one_level_deep() {
        let new = merged(
            json!({"properties": {"a": {"x": 1}}}),
            json!({"properties": {"a": {"y": 2}}}),
        )
        .unwrap();
        assert_eq!(new, json!({"properties": {"a": {"y": 2}}}));
    }

    #[test]
    fn wrong_shapes_and_too_many_tags_are_refused() {
        assert!(merged(json!({}), json!({"tags": "x"})).is_err());
        assert!(merged(json!({}), json!({"properties": [1]})).is_err());
        let many: Vec<usize> = (0..65).collect();
        assert!(merged(json!({}), json!({"tags": many})).is_err());
        assert!(merged(json!({}), json!({"tags": &many[..64]})).is_ok());
    }

    proptest! {
        #[test]
        fn merging_never_panics_and_never_loses_a_key(old in any_json(), update in any_json()) {
            let (Value::Object(first), Value::Object(second)) = (&old, &update) else { return Ok(()) };
            // What is stored has always come through a merge itself.
            let Ok(old) = merge(&Map::new(), first) else { return Ok(()) };
            let Ok(new) = merge(&old, second) else { return Ok(()) };
            for (key, value) in &old {
                prop_assert!(new.contains_key(key));
                for (property, _) in value.as_object().filter(|_| key == "properties").into_iter().flatten() {
                    prop_assert!(new["properties"].get(property).is_some());
                }
                for tag in value.as_array().filter(|_| key == "tags").into_iter().flatten() {
                    prop_assert!(new["tags"].as_array().unwrap().contains(tag));
                }
            }
            prop_assert_eq!(merge(&new, second).unwrap(), new, "merging twice changes nothing");
        }
    }
}
