//! The laws of `hub_connection`.

use std::collections::BTreeMap;
use std::time::Duration;

use loaner::charts::hub_connection::{
    Act, HubConnection, Input, LEAST, LONGEST_TOKEN, Settings, Timer,
};
use loaner::charts::{Chart, Effect, Out};
use loaner::wire::close::CloseCode;
use proptest::prelude::*;
use strum::IntoEnumIterator as _;

use super::history::{History, Moment, Subject, config, histories};
use super::hub_connection_model::{Model, Stage};

const SILENCE: Duration = Duration::from_secs(25);
const ANSWER: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3600);
const CONNECTED: [&str; 3] = ["opening", "open", "suspect"];

/// A device's socket is the second of the chart's starts.
fn is_device(history: &History<HubConnection>) -> bool {
    history.start == 1
}

impl Subject for HubConnection {
    fn weight(event: &Input) -> u32 {
        match event {
            Input::Admitted { .. } | Input::Heard { .. } => 8,
            Input::Refreshed { .. } | Input::Rubbish | Input::TooFast | Input::Unseated => 4,
            Input::End(_)
            | Input::Overflow
            | Input::PeerClosed
            | Input::Lost
            | Input::Flushed
            | Input::Resumed => 1,
            Input::Fired(_) => 0,
        }
    }

    fn lives() -> Vec<Vec<Input>> {
        let token = Some(HOUR);
        let ago = Duration::ZERO;
        vec![
            vec![
                Input::Admitted { token },
                Input::Heard { ago: SILENCE },
                Input::Heard { ago },
                Input::Refreshed { token: HOUR },
                Input::End(CloseCode::GoingAway),
                Input::Flushed,
                Input::Resumed,
            ],
            vec![
                Input::Admitted { token: None },
                Input::Heard { ago: SILENCE },
                Input::Overflow,
            ],
            vec![Input::Admitted { token }, Input::Lost],
        ]
    }

    fn vary(event: Input, dice: u8) -> Input {
        let some = |least: u64| Duration::from_secs(u64::from(dice) * least);
        match event {
            Input::Admitted { token: Some(_) } => Input::Admitted {
                token: Some(some(1)),
            },
            Input::Refreshed { .. } => Input::Refreshed { token: some(2) },
            Input::Heard { .. } => Input::Heard { ago: some(1) / 8 },
            Input::End(_) if dice.is_multiple_of(2) => {
                let codes: Vec<CloseCode> = CloseCode::iter().collect();
                Input::End(codes[usize::from(dice / 2) % codes.len()])
            }
            other => other,
        }
    }
}

/// Whether the connection ended with this moment.
fn ends(moment: &Moment<HubConnection>) -> bool {
    CONNECTED.contains(&moment.from) && !CONNECTED.contains(&moment.to)
}

fn is_detach(act: &Act) -> bool {
    matches!(act, Act::Detach { .. })
}

fn is_close(act: &Act) -> bool {
    matches!(act, Act::SendClose(_))
}

proptest! {
    #![proptest_config(config())]

    /// Every effect, in order and to the millisecond, is what a model says that was written without a look at the chart.
    #[test]
    fn it_does_what_the_model_does(history in histories::<HubConnection>()) {
        let mut model = Model::new(is_device(&history));
        for moment in history.left_alone(HOUR).moments {
            let Some(event) = &moment.event else { continue };
            let expected = model.hears(moment.at, event);
            prop_assert_eq!(moment.acts().cloned().collect::<Vec<_>>(), expected);
            let state = match model.stage {
                Stage::Opening => "opening",
                Stage::Open => "open",
                Stage::Suspect => "suspect",
                Stage::Draining => "draining",
                Stage::Waiting => "resumable",
                Stage::Over => "closed",
            };
            prop_assert_eq!(moment.to, state);
        }
    }

    /// websocket-connection.md, Connection cleanup (SOCK-06): whatever ends a connection, it is out of routing and rooms at
    /// that very moment, and once.
    #[test]
    fn it_is_detached_once_and_at_once(history in histories::<HubConnection>()) {
        for moment in &history.moments {
            let detached = moment.acts().filter(|act| is_detach(act)).count();
            prop_assert_eq!(detached, usize::from(ends(moment)));
        }
        prop_assert!(history.count(is_detach) <= 1);
    }

    /// websocket-connection.md, Connection error (SOCK-20): the peer is told why once, with its line still there, and
    /// nothing else is sent from then on; the line is dropped once, and only the session's end can follow.
    #[test]
    fn there_is_one_close_frame_and_nothing_after_it(history in histories::<HubConnection>()) {
        let order = |act: &Act| match act {
            Act::Look | Act::Ping | Act::WarnOfExpiry => 0,
            Act::Detach { .. } => 1,
            Act::SendClose(_) => 2,
            Act::HangUp => 3,
            Act::Forget => 4,
        };
        let alone = history.left_alone(HOUR);
        let steps: Vec<u8> = alone.acts().map(order).filter(|step| *step > 0).collect();
        prop_assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
        let talk = alone.acts().skip_while(|act| !is_detach(act)).any(|act| order(act) == 0);
        prop_assert!(!talk);
        for moment in alone.moments.iter().filter(|moment| ends(moment)) {
            let told = moment.acts().any(is_close);
            prop_assert_eq!(told, moment.event != Some(Input::Lost));
            prop_assert_eq!(moment.has(&Act::HangUp), !told);
        }
    }

    /// reading.md 20 and websocket-connection.md, Connection recovery (SOCK-15): a session waits exactly for a device that
    /// was attached and was not told to stay away, for 2 min, and is forgotten unless the device has taken it elsewhere.
    #[test]
    fn a_session_is_kept_or_forgotten_or_moves_on(history in histories::<HubConnection>()) {
        let alone = history.left_alone(HOUR);
        let (mut attached, mut moved) = (false, false);
        for moment in &alone.moments {
            attached |= moment.to == "open" && is_device(&history);
            let back = matches!(moment.event, Some(Input::Resumed | Input::End(CloseCode::Replaced)));
            moved |= back && attached && moment.from != "closed";
            let kept = moment.has(&Act::Detach { resumable: true });
            prop_assert!(!kept || (attached && !moved));
        }
        if alone.chart_is("closed") {
            let forgotten = alone.count(|act| *act == Act::Forget);
            prop_assert_eq!(forgotten, usize::from(attached && !moved));
        }
        history.lasts_at_most("resumable", Timer::Resume, Duration::from_secs(120))?;
    }

    /// reading.md 25: a socket that nobody registers has its time and no more; nor has the closing handshake with a peer
    /// that does not answer; and whatever has begun to end is over soon.
    #[test]
    fn no_step_takes_longer_than_it_may(history in histories::<HubConnection>()) {
        let opening = if is_device(&history) { 10 } else { 60 };
        history.lasts_at_most("opening", Timer::Opening, Duration::from_secs(opening))?;
        history.lasts_at_most("suspect", Timer::Answer, ANSWER)?;
        history.lasts_at_most("draining", Timer::Closing, Duration::from_secs(2))?;
        let bound = Duration::from_secs(60 + 2 + 120);
        prop_assert!(history.chart_is("open") || history.left_alone(bound).chart_is("closed"));
    }

    /// reading.md 24: nobody stays for longer than 10 s after the end of the last token that was accepted.
    #[test]
    fn nobody_outstays_a_token(history in histories::<HubConnection>()) {
        let mut end = None;
        for moment in history.left_alone(HOUR).moments {
            let live = |state: &str| ["open", "suspect"].contains(&state);
            prop_assert!(!live(moment.from) || end.is_none_or(|end| moment.at <= end));
            match moment.event {
                Some(Input::Admitted { token }) if live(moment.to) => {
                    end = token.map(|token| moment.at + token + Duration::from_secs(10));
                }
                Some(Input::Refreshed { token }) if live(moment.to) => {
                    end = Some(moment.at + token + Duration::from_secs(10));
                }
                _ if !live(moment.to) => end = None,
                _ => {}
            }
        }
    }
}

/// A socket with an actor's habits and a clock: it notes when the peer speaks, and says so only when it is asked or the
/// peer is suspected.
struct Watched {
    chart: HubConnection,
    due: BTreeMap<Timer, Duration>,
    now: Duration,
    heard: Duration,
    acts: Vec<(Duration, Act)>,
}

impl Watched {
    fn new(settings: Settings) -> Self {
        let mut chart = HubConnection::new(settings);
        chart.begin(&mut Out::default());
        let mut watched = Watched {
            chart,
            due: BTreeMap::new(),
            now: Duration::ZERO,
            heard: Duration::ZERO,
            acts: Vec::new(),
        };
        watched.tell(Input::Admitted { token: None });
        watched
    }

    fn tell(&mut self, event: Input) {
        let mut out = Out::default();
        self.chart.dispatch(&event, &mut out);
        let mut looks = false;
        for effect in out.drain() {
            match effect {
                Effect::Arm(timer, after) => drop(self.due.insert(timer, self.now + after)),
                Effect::Cancel(timer) => drop(self.due.remove(&timer)),
                Effect::Act(act) => {
                    looks |= act == Act::Look;
                    self.acts.push((self.now, act));
                }
            }
        }
        if looks {
            let ago = self.now - self.heard;
            self.tell(Input::Heard { ago });
        }
    }

    fn speaks(&mut self) {
        self.heard = self.now;
        if self.chart.state() == "suspect" {
            self.tell(Input::Heard {
                ago: Duration::ZERO,
            });
        }
    }

    /// Lives through the peer's words, until the peer is given up. What is due at the moment of a word comes before it or
    /// after it.
    fn live(mut self, words: &[Duration], word_first: bool) -> Self {
        let mut words = words.iter().copied().peekable();
        while ["open", "suspect"].contains(&self.chart.state()) {
            let due = self.due.iter().min_by_key(|(_, at)| **at);
            let (timer, at) = due
                .map(|(timer, at)| (*timer, *at))
                .expect("something is due");
            match words.next_if(|word| *word < at || (word_first && *word == at)) {
                Some(word) => {
                    self.now = word;
                    self.speaks();
                }
                None => {
                    self.now = at;
                    self.due.remove(&timer);
                    self.tell(Input::Fired(timer));
                }
            }
        }
        self
    }
}

/// The times between words: most of them short, some near the limits.
fn pauses() -> impl Strategy<Value = Vec<u64>> {
    let pause = prop_oneof![
        6 => 0..25_000_u64,
        3 => 25_000..35_000_u64,
        1 => 24_985..25_015_u64,
        1 => 34_985..35_015_u64,
        1 => 35_000..100_000_u64,
    ];
    prop::collection::vec(pause, 0..12)
}

proptest! {
    #![proptest_config(config())]

    /// websocket-connection.md, Connection timeout (SOCK-11): a peer that has died is found 35 s after its last word,
    /// however often and whenever it spoke before, and told in its dialect's own code. One that speaks at least every 35 s
    /// never is; one that speaks every 25 s is not even asked.
    #[test]
    fn a_dead_peer_is_found_35_s_after_its_last_word(
        pauses in pauses(), word_first: bool, device: bool
    ) {
        let mut words = vec![Duration::ZERO];
        for pause in pauses {
            words.push(words[words.len() - 1] + Duration::from_millis(pause));
        }
        let (settings, code) = if device {
            (Settings::device(), CloseCode::PingTimeout)
        } else {
            (Settings::signalling(), CloseCode::PingTimeoutClassic)
        };
        let watched = Watched::new(settings).live(&words, word_first);
        let (closed, _) = watched.acts.iter().find(|(_, act)| *act == Act::SendClose(code)).expect("it dies");
        let exact = |event: Duration, word: Duration, wait: Duration| {
            word + wait <= event && event <= word + wait + LEAST
        };
        prop_assert!(exact(*closed, watched.heard, SILENCE + ANSWER), "{closed:?} after {:?}", watched.heard);
        words.retain(|word| *word <= watched.heard);
        prop_assert!(words.windows(2).all(|two| two[1] - two[0] <= SILENCE + ANSWER + LEAST));
        let pings: Vec<Duration> =
            watched.acts.iter().filter(|(_, act)| *act == Act::Ping).map(|(at, _)| *at).collect();
        for ping in &pings {
            prop_assert!(words.iter().any(|word| exact(*ping, *word, SILENCE)));
        }
        let long = words.windows(2).filter(|two| two[1] - two[0] > SILENCE + LEAST).count();
        prop_assert!(pings.len() > long);
    }
}

/// A socket that is looked at does nothing else, for as long as its peer goes on speaking.
#[test]
fn a_peer_that_speaks_is_looked_at_every_25_s_and_left_in_peace() {
    let words: Vec<Duration> = (0..3600).map(Duration::from_secs).collect();
    let watched = Watched::new(Settings::device()).live(&words, true);
    let looks = watched
        .acts
        .iter()
        .filter(|(at, act)| *act == Act::Look && *at < HOUR);
    assert_eq!(looks.count() as u64, 3599 / 25);
    let pings: Vec<_> = watched
        .acts
        .iter()
        .filter(|(_, act)| *act == Act::Ping)
        .collect();
    assert_eq!(pings, [&(Duration::from_secs(3599) + SILENCE, Act::Ping)]);
}

/// A token of any length arms timers that a clock can keep, and warns before it ends.
#[test]
fn a_token_without_an_end_has_one() {
    for token in [Duration::MAX, LONGEST_TOKEN + HOUR, Duration::ZERO] {
        let mut chart = HubConnection::new(Settings::device());
        let mut out = Out::default();
        chart.begin(&mut out);
        out.reset();
        chart.dispatch(&Input::Admitted { token: Some(token) }, &mut out);
        let armed = |wanted| {
            out.effects().iter().find_map(|effect| match effect {
                Effect::Arm(timer, after) if *timer == wanted => Some(*after),
                _ => None,
            })
        };
        let (warned, ended) = (
            armed(Timer::Expiring).unwrap(),
            armed(Timer::Expired).unwrap(),
        );
        assert!(warned < ended && ended <= LONGEST_TOKEN + HOUR, "{token:?}");
    }
}

/// Limits of zero, or the largest, are limits too.
#[test]
fn limits_at_their_bounds() {
    for (limit, offences) in [(0, 1), (1, 1), (3, 3)] {
        for offence in [Input::Rubbish, Input::TooFast] {
            let settings = Settings {
                strikes: limit,
                overruns: limit,
                ..Settings::signalling()
            };
            let mut chart = HubConnection::new(settings);
            chart.begin(&mut Out::default());
            for count in 1..=offences {
                assert_eq!(chart.state(), "opening", "{offence:?} {count} of {limit}");
                chart.dispatch(&offence, &mut Out::default());
            }
            assert_eq!(chart.state(), "draining");
        }
    }
}
