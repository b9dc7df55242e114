//! Two managers of one tube, with the production charts and ledgers, over a hub that delays, reorders, doubles and loses what
//! they say, and a path that breaks.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use loaner::charts::tunnel::{
    Act, Change, Input, JOB_PATIENCE, Ledger, PATIENCE, Role, Settings, Timer, Tunnel,
};
use loaner::charts::{Chart, Effect, Out};
use proptest::prelude::*;

use super::history::config;

const ROUND_TRIP: Duration = Duration::from_millis(20);

/// One outage.
#[derive(Debug, Clone)]
struct Outage {
    /// How long after the last was over, in milliseconds.
    after: u64,
    /// How long nothing moves, whatever is tried, in milliseconds.
    lasts: u64,
    /// Whether the initiator, the responder, both or none is told of it by its machine.
    told: [bool; 2],
    /// Whether a restart would do, once it is over.
    restart_helps: bool,
    /// The side that hears nothing, where data still moves in the other direction.
    deaf: Option<usize>,
}

struct Side {
    chart: Tunnel,
    ledger: Ledger,
    due: BTreeMap<Timer, Duration>,
}

/// What a side hears, and when.
struct Word {
    at: Duration,
    to: usize,
    generation: u64,
    event: Input,
}

struct World {
    now: Duration,
    sides: [Side; 2],
    words: Vec<Word>,
    /// The generation over which data moves, if any does.
    path: Option<u64>,
    /// The side that hears nothing of it.
    deaf: Option<usize>,
    broke: Duration,
    mends_at: Duration,
    restart_helps: bool,
    /// What the present offer is of.
    rebuild: bool,
    /// One number for each description: how late it comes, and whether it is lost or comes twice.
    fate: VecDeque<u16>,
    descriptions: usize,
}

impl World {
    fn new(fate: Vec<u16>) -> Self {
        let side = |role, patience| Side {
            chart: Tunnel::new(Settings { role, patience }),
            ledger: Ledger::new(),
            due: BTreeMap::new(),
        };
        let mut world = World {
            now: Duration::ZERO,
            sides: [
                side(Role::Initiator, PATIENCE),
                side(Role::Responder, JOB_PATIENCE),
            ],
            words: Vec::new(),
            path: Some(1),
            deaf: None,
            broke: Duration::ZERO,
            mends_at: Duration::ZERO,
            restart_helps: true,
            rebuild: false,
            fate: fate.into(),
            descriptions: 0,
        };
        for me in 0..2 {
            let mut out = Out::default();
            world.sides[me].chart.begin(&mut out);
            world.tell(me, &Input::Start);
        }
        world
    }

    fn is_over(&self) -> bool {
        self.now >= self.mends_at
    }

    fn say(&mut self, to: usize, after: Duration, generation: u64, event: Input) {
        let at = self.now + after;
        self.words.push(Word {
            at,
            to,
            generation,
            event,
        });
    }

    /// Over the hub: late by up to 0.8 s, and one in four lost or doubled while chance has a say.
    fn signal(&mut self, to: usize, generation: u64, event: Input) {
        self.descriptions += 1;
        let fate = self.fate.pop_front().unwrap_or(0);
        let late = Duration::from_millis(u64::from(fate / 8) % 800);
        if fate % 8 != 1 {
            self.say(to, late, generation, event.clone());
        }
        if fate % 8 == 2 {
            self.say(to, late * 2, generation, event);
        }
    }

    fn tell(&mut self, me: usize, event: &Input) {
        let mut out = Out::default();
        self.sides[me].chart.dispatch(event, &mut out);
        for effect in out.effects() {
            match effect {
                Effect::Arm(timer, after) => {
                    self.sides[me].due.insert(*timer, self.now + *after);
                }
                Effect::Cancel(timer) => {
                    self.sides[me].due.remove(timer);
                }
                Effect::Act(act) => self.perform(me, act),
            }
        }
    }

    fn perform(&mut self, me: usize, act: &Act) {
        let now = self.now;
        self.sides[me].ledger.note(now, act);
        let present = self.sides[me].chart.generation();
        match act {
            Act::Open => self.say(me, ROUND_TRIP, 1, Input::Up),
            Act::Weigh => {
                let verdict = self.sides[me].ledger.weigh(now);
                self.say(me, Duration::ZERO, present, Input::Weighed(verdict));
            }
            Act::Look => {
                let hears = self.path.is_some() && self.deaf != Some(me);
                let silent = if hears {
                    Duration::ZERO
                } else {
                    now - self.broke
                };
                let busy = true;
                self.say(me, Duration::ZERO, present, Input::Quiet { silent, busy });
            }
            Act::Ping { generation } if self.path == Some(*generation) => {
                if self.deaf != Some(1 - me) {
                    self.say(1 - me, ROUND_TRIP / 2, *generation, Input::PeerPing);
                }
                if self.deaf.is_none() {
                    self.say(me, ROUND_TRIP, *generation, Input::Pong);
                }
            }
            Act::Offer { generation } | Act::Rebuild { generation } => {
                let (generation, rebuild) = (*generation, matches!(act, Act::Rebuild { .. }));
                self.rebuild = rebuild;
                if rebuild {
                    self.path = None;
                } else {
                    self.say(me, ROUND_TRIP, generation, Input::OfferReady);
                }
                let event = Input::Offered {
                    generation,
                    rebuild,
                };
                self.signal(1 - me, generation, event);
            }
            Act::Answer { generation, .. } => {
                self.path = None;
                self.signal(1 - me, *generation, Input::Answered);
            }
            Act::TakeAnswer if self.is_over() && (self.rebuild || self.restart_helps) => {
                (self.path, self.deaf) = (Some(present), None);
                for to in 0..2 {
                    self.say(to, ROUND_TRIP, present, Input::IceConnected);
                    if self.rebuild {
                        self.say(to, ROUND_TRIP * 5, present, Input::Up);
                    }
                }
            }
            // ICE may be back, and data move in one direction only.
            Act::TakeAnswer if self.deaf.is_some() && !self.rebuild => self.path = Some(present),
            Act::AskForRestart {
                generation,
                rebuild,
            } => self.signal(1 - me, *generation, Input::Asked { rebuild: *rebuild }),
            _ => {}
        }
    }

    /// Lets time pass; what is said is heard, and what is due fires.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let word = (0..self.words.len()).min_by_key(|place| self.words[*place].at);
            let timer = (0..2)
                .flat_map(|me| self.sides[me].due.iter().map(move |(t, at)| (*at, me, *t)))
                .min();
            let word_at = word.map(|place| self.words[place].at);
            match (word, timer) {
                (Some(place), timer)
                    if word_at <= Some(until)
                        && timer.is_none_or(|(at, ..)| word_at <= Some(at)) =>
                {
                    let word = self.words.remove(place);
                    self.now = word.at;
                    let event = self.sides[word.to].chart.judge(word.generation, word.event);
                    self.tell(word.to, &event);
                }
                (_, Some((at, me, timer))) if at <= until => {
                    self.now = at;
                    self.sides[me].due.remove(&timer);
                    self.tell(me, &Tunnel::fired(timer));
                }
                _ => break,
            }
        }
        self.now = until;
    }

    fn breaks(&mut self, outage: &Outage) {
        self.deaf = outage.deaf;
        if self.deaf.is_none() {
            self.path = None;
        }
        self.broke = self.now;
        self.mends_at = self.now + Duration::from_millis(outage.lasts);
        self.restart_helps = outage.restart_helps;
        for me in 0..2 {
            if outage.told[me] {
                let change = Change::IpChange;
                self.tell(
                    me,
                    &Input::NetworkChanged {
                        change,
                        major: true,
                    },
                );
            }
        }
    }

    fn states(&self) -> [(&'static str, u64); 2] {
        [0, 1].map(|me| {
            let chart = &self.sides[me].chart;
            (chart.state(), chart.generation())
        })
    }
}

fn outages() -> impl Strategy<Value = Vec<Outage>> {
    let lasts = prop_oneof![Just(0_u64), 0_u64..40_000];
    let deaf = prop_oneof![2 => Just(None), 1 => (0_usize..2).prop_map(Some)];
    let outage = (
        0_u64..90_000,
        lasts,
        any::<[bool; 2]>(),
        any::<bool>(),
        deaf,
    );
    let outage = outage.prop_map(|(after, lasts, told, restart_helps, deaf)| Outage {
        after,
        lasts,
        told,
        restart_helps,
        deaf,
    });
    prop::collection::vec(outage, 1..6)
}

proptest! {
    #![proptest_config(config())]

    /// Whatever breaks for however long, and whatever becomes of what the two tell one another meanwhile: when the way is free
    /// again and the hub loses nothing more, both are connected over the same path, before the initiator's patience is at its end; a worker that has given up
    /// by then takes the client's offer.
    #[test]
    fn both_sides_meet_again(outages in outages(), fate in prop::collection::vec(any::<u16>(), 0..40)) {
        let mut world = World::new(fate);
        world.pass(Duration::from_secs(5));
        prop_assert_eq!(world.states(), [("connected", 1), ("connected", 1)]);
        for outage in &outages {
            world.pass(Duration::from_millis(outage.after));
            world.breaks(outage);
            world.pass(Duration::from_millis(outage.lasts));
        }
        world.fate.clear();
        world.pass(Duration::from_secs(400));
        let [one, other] = world.states();
        prop_assert_eq!(one.0, "connected");
        prop_assert_eq!(one, other);
        // Attempts stand apart, and each has few descriptions and wishes.
        prop_assert!(world.descriptions < 200, "{}", world.descriptions);
    }
}
