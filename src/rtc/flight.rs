//! How much may be on its way to a peer that has little room.
//!
//! The stack sends a whole congestion window at once, up to the megabyte that a peer announces. aiortc announces one, but
//! its socket takes a quarter of that, and each packet that is lost there costs it a search through everything that came
//! behind. So what is on its way to such a peer is kept to what the path needs: twice what it delivers in the time of
//! a round trip, as BBR does, and never less than a socket takes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What may always be on its way, bytes. aiortc's socket takes about 250 KB of full packets.
const FLOOR: u64 = 100_000;

/// And never more than that, as for any peer.
const CEILING: u64 = 4 << 20;

/// The highest rate of each such time is remembered,
const TOGETHER: Duration = Duration::from_secs(1);

/// and so many of them.
const REMEMBERED: usize = 10;

/// What is known of the way to a peer.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// Bytes that were given to send.
    sent: u64,
    /// Bytes of them that have arrived, when it was last looked.
    delivered: u64,
    /// The round trip that is being measured.
    mark: Option<Mark>,
    /// The shortest round trip so far, in seconds. It is kept: while the way is full, none is as short.
    trip: Option<f64>,
    /// When, and how many bytes a second arrived in a round trip.
    rates: VecDeque<(Instant, f64)>,
}

/// What was sent at a moment; its round trip ends when so many bytes have arrived.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    sent: u64,
    delivered: u64,
}

impl Flight {
    /// Notes that so many bytes more were given to send.
    pub(super) fn sent(&mut self, bytes: usize, now: Instant) {
        self.sent += bytes as u64;
        self.mark.get_or_insert(Mark {
            at: now,
            sent: self.sent,
            delivered: self.delivered,
        });
    }

    /// Whether more may be sent while `outstanding` bytes are not acknowledged.
    pub(super) fn has_room(&mut self, outstanding: u64, now: Instant) -> bool {
        self.delivered = self.sent.saturating_sub(outstanding);
        let delivered = self.delivered;
        if let Some(mark) = self.mark.take_if(|mark| delivered >= mark.sent) {
            let trip = now.saturating_duration_since(mark.at).as_secs_f64();
            if trip > 0.0 {
                self.trip = Some(self.trip.unwrap_or(trip).min(trip));
                self.delivers(now, (delivered - mark.delivered) as f64 / trip);
            }
        }
        outstanding < self.limit()
    }

    fn delivers(&mut self, now: Instant, rate: f64) {
        match self.rates.back_mut() {
            Some((at, fastest)) if now.saturating_duration_since(*at) < TOGETHER => {
                *fastest = fastest.max(rate);
            }
            _ => {
                if self.rates.len() == REMEMBERED {
                    self.rates.pop_front();
                }
                self.rates.push_back((now, rate));
            }
        }
    }

    fn limit(&self) -> u64 {
        let fastest = self.rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        let needed = self.trip.unwrap_or(0.0) * fastest * 2.0;
        (needed as u64).clamp(FLOOR, CEILING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends as much as may be over a path with this round trip and rate (bytes a second): what it carries, and the most
    /// that waits in it.
    fn over(trip: Duration, rate: f64, time: Duration) -> (f64, u64) {
        const STEP: Duration = Duration::from_micros(500);
        const PIECE: usize = 16_384;
        let begun = Instant::now();
        let (mut now, mut flight) = (begun, Flight::default());
        let (mut sent, mut passed, mut most) = (0_u64, 0.0_f64, 0);
        let mut arrivals: VecDeque<(Instant, u64)> = VecDeque::new();
        let mut acknowledged = 0;
        while now - begun < time {
            now += STEP;
            passed = (passed + rate * STEP.as_secs_f64()).min(sent as f64);
            arrivals.push_back((now + trip, passed as u64));
            while let Some((at, bytes)) = arrivals.front()
                && *at <= now
            {
                acknowledged = *bytes;
                arrivals.pop_front();
            }
            while flight.has_room(sent - acknowledged, now) {
                flight.sent(PIECE, now);
                sent += PIECE as u64;
            }
            most = most.max(sent - passed as u64);
        }
        (passed / time.as_secs_f64(), most)
    }

    /// A path with a short round trip carries all that it can, and nothing waits in it for long.
    #[test]
    fn a_short_path_is_used_without_a_queue() {
        let (rate, most) = over(Duration::from_millis(1), 25e6, Duration::from_secs(5));
        assert!(rate > 24e6, "{rate}");
        assert!(most < 200_000, "{most}");
    }

    /// So does one with a long round trip: more is on its way than a socket takes.
    #[test]
    fn a_long_path_is_filled() {
        for (trip, rate) in [(50, 12e6), (200, 5e6), (100, 1e6)] {
            let trip = Duration::from_millis(trip);
            let (used, most) = over(trip, rate, Duration::from_secs(20));
            assert!(used > 0.9 * rate, "{trip:?} {used}");
            let path = rate * trip.as_secs_f64();
            assert!((most as f64) < 4.0 * path + 2e5, "{trip:?} {most}");
        }
    }

    /// Rates are forgotten after a while, as few are kept as there are to be, and the limit keeps to its bounds.
    #[test]
    fn what_was_measured_is_forgotten_and_bounded() {
        let begun = Instant::now();
        let mut flight = Flight {
            trip: Some(0.1),
            ..Flight::default()
        };
        for tenth in 0..1000 {
            let now = begun + Duration::from_millis(tenth * 100);
            flight.delivers(now, if tenth < 500 { 1e8 } else { 1e5 });
            assert!(flight.rates.len() <= REMEMBERED);
            match tenth {
                499 => assert_eq!(flight.limit(), CEILING),
                999 => assert_eq!(flight.limit(), FLOOR),
                _ => {}
            }
        }
    }
}
