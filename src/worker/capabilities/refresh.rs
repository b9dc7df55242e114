//! Reading the GPUs again and again while the hub is there to be told, and what of it is told.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Reading;

/// How often the GPUs are read, and told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refresh {
    /// Between two readings.
    pub every: Duration,
    /// Between two messages to the hub, at least.
    pub tell_every: Duration,
}

impl Default for Refresh {
    fn default() -> Self {
        Refresh {
            every: Duration::from_secs(30),
            tell_every: Duration::from_secs(30),
        }
    }
}

/// What the hub knows of the GPUs.
#[derive(Debug)]
pub(crate) struct Told {
    reading: Reading,
    at: Instant,
}

impl Told {
    /// It knows this since then.
    pub(crate) fn new(reading: Reading, at: Instant) -> Self {
        Told { reading, at }
    }

    /// Whether to tell it of what was read at `at`; it knows it then.
    pub(crate) fn tell(&mut self, reading: &Reading, at: Instant, tell_every: Duration) -> bool {
        let tell = at.saturating_duration_since(self.at) >= tell_every
            && reading.worth_telling(&self.reading);
        if tell {
            *self = Told::new(reading.clone(), at);
        }
        tell
    }
}

/// Reads `every` so often while somebody may look: while `watched` is true. Ends with the sender of that, or when nothing
/// can be read any more. `heard` gets each reading, and the moment at which it was due.
pub(crate) async fn follow<R>(
    every: Duration,
    mut watched: watch::Receiver<bool>,
    mut read: impl FnMut() -> R,
    mut heard: impl FnMut(Reading, Instant),
) where
    R: Future<Output = Option<Reading>>,
{
    let mut last = Instant::now();
    loop {
        // Who comes back after a while is not kept waiting.
        if watched.wait_for(|watched| *watched).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep_until(last + every) => {}
            gone = watched.wait_for(|watched| !watched) => match gone {
                Ok(_) => continue,
                Err(_) => return,
            },
        }
        let due = Instant::now();
        last = due;
        match read().await {
            Some(reading) => heard(reading, due),
            None => return,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::worker::capabilities::GpuReading;
    use std::cell::RefCell;
    use std::rc::Rc;

    fn hot(temperature_c: u32) -> Reading {
        Reading {
            gpus: vec![GpuReading {
                model: "made up".to_owned(),
                memory_total_mb: 1000,
                memory_free_mb: 1000,
                utilization: None,
                temperature_c: Some(temperature_c),
                processes: None,
            }],
            ..Reading::default()
        }
    }

    /// Readings that are always worth telling; in how many seconds since the start each was due comes back.
    async fn followed(every: u64, watched: watch::Receiver<bool>, seconds: u64) -> Vec<u64> {
        let begun = Instant::now();
        let mut heat = 0;
        let seen = Rc::new(RefCell::new(Vec::new()));
        let noted = seen.clone();
        let read = move || {
            heat = (heat + 50) % 100;
            let reading = hot(heat);
            // Reading takes a while, which must not shift what follows.
            async move {
                tokio::time::sleep(Duration::from_millis(40)).await;
                Some(reading)
            }
        };
        let following = follow(Duration::from_secs(every), watched, read, move |_, due| {
            noted.borrow_mut().push((due - begun).as_secs());
        });
        let _ = tokio::time::timeout(Duration::from_secs(seconds), following).await;
        seen.take()
    }

    /// The GPUs are read as often as was asked, and not at all while nobody can look.
    #[tokio::test(start_paused = true)]
    async fn gpus_are_read_while_somebody_may_look() {
        let (look, watched) = watch::channel(true);
        assert_eq!(followed(30, watched.clone(), 125).await, [30, 60, 90, 120]);
        look.send(false).unwrap();
        assert!(followed(30, watched.clone(), 10_000).await.is_empty());
        let (times, ()) = tokio::join!(followed(30, watched, 300), async {
            tokio::time::sleep(Duration::from_secs(200)).await;
            look.send(true).unwrap();
            tokio::time::sleep(Duration::from_secs(50)).await;
            look.send(false).unwrap();
        });
        assert_eq!(
            times,
            [200, 230],
            "at once for who comes back, then in step"
        );
    }

    /// Whatever changes how fast, the hub hears of it twice a minute at most, and of the last state in the end.
    #[tokio::test(start_paused = true)]
    async fn the_hub_is_told_twice_a_minute_at_most() {
        let begun = Instant::now();
        let every = Refresh::default().tell_every;
        let mut told = Told::new(hot(40), begun);
        let mut times = Vec::new();
        for second in 0..=100 {
            let heat = if second % 2 == 0 { 40 } else { 60 };
            if told.tell(&hot(heat), begun + Duration::from_secs(second), every) {
                times.push(second);
            }
        }
        assert_eq!(times, [31, 62, 93]);
        let later = begun + Duration::from_secs(400);
        assert!(!told.tell(&hot(60), later, every), "it knows that");
        assert!(told.tell(&hot(40), later, every));
        assert!(!told.tell(&hot(60), later + Duration::from_secs(29), every));
    }

    /// A slow drift is told once it has gone far enough from what was told.
    #[tokio::test(start_paused = true)]
    async fn a_drift_is_told_in_the_end() {
        let (begun, minute) = (Instant::now(), Duration::from_secs(60));
        let mut told = Told::new(hot(40), begun);
        let tells: Vec<_> = (41..=52)
            .filter(|heat| told.tell(&hot(*heat), begun + minute * (heat - 40), minute))
            .collect();
        assert_eq!(tells, [46, 52]);
    }
}
