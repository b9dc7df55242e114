//! What a message and an idle device cost. The figures are printed; only what is out of all proportion fails.

use std::mem::size_of;
use std::sync::Arc;
use std::time::Instant;

use super::super::super::engine::*;
use super::super::device::Device;
use super::world::{World, key, to, with_id};

struct Nowhere;

impl Sink for Nowhere {
    fn attached(&self, _: &Attached) {}

    fn message(&self, _: &Letter) -> bool {
        true
    }

    fn receipt(&self, _: &Receipt) {}

    fn refused(&self, _: Option<&str>, _: &PostRefused) {}
}

#[test]
fn a_live_letter_costs_little() {
    let world = World::new();
    let (from, at) = (key("a/1"), key("b/1"));
    world.mail.attach(&from, 1, Arc::new(Nowhere), None, None);
    world.mail.attach(&at, 2, Arc::new(Nowhere), None, None);
    const N: u64 = 100_000;
    for named in [false, true] {
        let start = Instant::now();
        for n in 0..N {
            let mut posting = to("b/1", "\"hello\"");
            if named {
                posting = with_id(&n.to_string(), posting);
            }
            world.mail.post(&from, posting, None).unwrap();
            let last = world.mail.with(|core, _| core.find(&at).unwrap().1.given);
            world.mail.acknowledge(&at, 2, last);
        }
        let each = start.elapsed().as_nanos() / u128::from(N);
        println!("post, deliver, acknowledge: {each} ns (with client id: {named})");
        assert!(each < 100_000);
    }
    assert_eq!(world.mail.figures().in_flight, 0);
    assert_eq!(world.store.count("append"), 0);
}

#[test]
fn an_idle_device_is_small() {
    println!("device: {} bytes", size_of::<Device>());
    let mut world = World::new();
    world.attach("a/1");
    world.store.settle();
    world.mail.with(|core, _| {
        let (_, device) = core.find(&key("a/1")).unwrap();
        assert_eq!(device.window.letters.capacity(), 0);
        assert!(device.out.is_none());
    });
    // Beside the device: its pointer, its place in the index and in its user's list, each in a table that may be half empty.
    assert!(size_of::<Device>() + 16 + 2 * (40 + 48) + 16 <= 600);
}
