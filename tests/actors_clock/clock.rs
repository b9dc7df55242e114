//! A paused clock, and what was seen when.

use std::cell::RefCell;
use std::fmt::Debug;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use loaner::actors::{ChartActor, Feed, Observe, Observed, Perform};
use loaner::charts::Chart;
use tokio::time::Instant;

/// Runs a test where time passes only when everything waits for it.
pub fn on_paused_clock<T>(test: impl Future<Output = T>) -> T {
    let system = System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    });
    system.block_on(test)
}

/// Seconds, also parts of them.
pub fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Lets so many seconds pass, and what is due in them happen.
pub async fn pass(time: f64) {
    tokio::time::sleep(seconds(time)).await;
    settle().await;
}

/// Lets every message that is on its way arrive.
pub async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// What was seen, and when.
pub struct Seen<T> {
    began: Instant,
    list: Rc<RefCell<Vec<(Duration, T)>>>,
}

impl<T> Clone for Seen<T> {
    fn clone(&self) -> Self {
        Seen {
            began: self.began,
            list: self.list.clone(),
        }
    }
}

impl<T: Clone + Debug + PartialEq> Seen<T> {
    /// Nothing yet; the clock of what will be begins now.
    pub fn new() -> Self {
        Seen {
            began: Instant::now(),
            list: Rc::default(),
        }
    }

    /// Notes something.
    pub fn note(&self, what: T) {
        self.list.borrow_mut().push((self.began.elapsed(), what));
    }

    /// Everything, in order.
    pub fn all(&self) -> Vec<T> {
        self.list
            .borrow()
            .iter()
            .map(|(_, what)| what.clone())
            .collect()
    }

    /// What was seen is this, at these seconds. Tokio's clock counts in milliseconds.
    #[track_caller]
    pub fn is(&self, expected: &[(f64, T)]) {
        let list = self.list.borrow();
        assert_eq!(
            list.iter().map(|(_, what)| what).collect::<Vec<_>>(),
            expected.iter().map(|(_, what)| what).collect::<Vec<_>>()
        );
        for ((at, what), (expected, _)) in list.iter().zip(expected) {
            let off = (at.as_secs_f64() - expected).abs();
            assert!(off < 0.005, "{what:?} at {at:?} instead of {expected} s");
        }
    }
}

struct Listener<M, T> {
    seen: Seen<T>,
    what: fn(M) -> T,
}

impl<M: 'static, T: 'static> Actor for Listener<M, T> {
    type Context = Context<Self>;
}

impl<M, T> Handler<M> for Listener<M, T>
where
    M: Message<Result = ()> + 'static,
    T: Clone + Debug + PartialEq + 'static,
{
    type Result = ();

    fn handle(&mut self, message: M, _: &mut Self::Context) {
        self.seen.note((self.what)(message));
    }
}

/// Someone to tell, and what of it they noted.
pub fn listener<M, T>(what: fn(M) -> T) -> (Recipient<M>, Seen<T>)
where
    M: Message<Result = ()> + Send + 'static,
    T: Clone + Debug + PartialEq + 'static,
{
    let seen = Seen::new();
    let listener = Listener {
        seen: seen.clone(),
        what,
    };
    (listener.start().recipient(), seen)
}

/// Feeds an event, and waits until it was handled.
pub async fn feed<P: Perform>(actor: &Addr<ChartActor<P>>, event: <P::Chart as Chart>::Input) {
    actor.send(Feed(event)).await.unwrap();
}

/// What an actor shows of itself.
pub async fn observe<P: Perform>(actor: &Addr<ChartActor<P>>) -> Observed {
    actor.send(Observe).await.unwrap()
}
