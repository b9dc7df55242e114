//! When a burst is over.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::Instant;

use super::super::burst::Burst;

/// Reads at these milliseconds, by a model that looks at its watch every millisecond: it reads when the last message is
/// 250 ms old, or the first one 1 s.
fn model(messages: &[u64], until: u64) -> Vec<u64> {
    let (mut reads, mut first, mut last) = (Vec::new(), None, 0);
    for now in 0..until {
        if first.is_some_and(|first| now - last == 250 || now - first == 1000) {
            reads.push(now);
            first = None;
        }
        if messages.contains(&now) {
            first = first.or(Some(now));
            last = now;
        }
    }
    reads
}

proptest! {
    /// Whenever messages come, the network is read when the model reads it, and not otherwise.
    #[test]
    fn bursts_end_when_the_model_says(gaps in vec(prop_oneof![0..20_u64, 200..300_u64, 900..1100_u64], 0..40)) {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let messages: Vec<u64> = gaps.iter().scan(0, |now, gap| { *now += gap; Some(*now) }).collect();
        let until = messages.last().unwrap_or(&0) + 2000;

        let (mut burst, mut reads) = (Burst::default(), Vec::new());
        for next in messages.iter().copied().chain([until]) {
            while let Some(due) = burst.due().filter(|due| *due <= at(next)) {
                reads.push(u64::try_from((due - start).as_millis()).unwrap());
                burst.over();
            }
            burst.message(at(next));
        }
        prop_assert_eq!(reads, model(&messages, until));
    }
}
