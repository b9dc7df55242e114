//! The writer: one thread that takes what waits, carries it out in one transaction, and answers in order.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use super::db::{Db, Failure};
use super::{Done, StoreFailed};

/// Orders in one transaction, at most.
const BATCH_ORDERS: usize = 4096;

/// Bytes of letters in one transaction, but for the last order of it.
const BATCH_BYTES: usize = 8 << 20;

/// Something to be done, and somebody to be told.
pub(super) trait Order: Send {
    /// Bytes of letters in it.
    fn bytes(&self) -> usize;
    /// Does it, within a transaction. It may be called again when the transaction came to nothing.
    fn carry_out(&mut self, db: &mut Db) -> Result<(), rusqlite::Error>;
    /// Tells the outcome of the last [`Order::carry_out`], or that it failed.
    fn answer(self: Box<Self>, failed: Option<StoreFailed>);
}

/// An order as a closure.
pub(super) struct Task<T, W> {
    work: W,
    bytes: usize,
    outcome: Result<T, StoreFailed>,
    done: Done<T>,
}

impl<T, W> Task<T, W>
where
    T: Send + 'static,
    W: FnMut(&mut Db) -> Result<T, Failure> + Send + 'static,
{
    /// `bytes` of letters are held by `work`.
    pub(super) fn new(work: W, bytes: usize, done: Done<T>) -> Box<Self> {
        let outcome = Err(StoreFailed("it was not carried out".into()));
        Box::new(Task {
            work,
            bytes,
            outcome,
            done,
        })
    }
}

impl<T, W> Order for Task<T, W>
where
    T: Send,
    W: FnMut(&mut Db) -> Result<T, Failure> + Send,
{
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn carry_out(&mut self, db: &mut Db) -> Result<(), rusqlite::Error> {
        self.outcome = match (self.work)(db) {
            Ok(outcome) => Ok(outcome),
            Err(Failure::Refused(why)) => Err(StoreFailed(why.into())),
            Err(Failure::Database(error)) => return Err(error),
        };
        Ok(())
    }

    fn answer(self: Box<Self>, failed: Option<StoreFailed>) {
        (self.done)(failed.map_or(self.outcome, Err));
    }
}

/// The thread's state.
pub(super) struct Writer {
    pub(super) db: Db,
    pub(super) orders: Receiver<Box<dyn Order>>,
    /// Bytes of letters that wait in `orders`.
    pub(super) queued: Arc<AtomicUsize>,
}

impl Writer {
    /// Works until nobody can give orders any more and all are carried out; then closes the file.
    pub(super) fn run(mut self) -> Result<(), StoreFailed> {
        while let Ok(first) = self.orders.recv() {
            let mut bytes = first.bytes();
            let mut batch = vec![first];
            while batch.len() < BATCH_ORDERS && bytes < BATCH_BYTES {
                let Ok(next) = self.orders.try_recv() else {
                    break;
                };
                bytes += next.bytes();
                batch.push(next);
            }
            self.queued.fetch_sub(bytes, Ordering::Relaxed);
            self.commit(batch);
        }
        self.db
            .file
            .close()
            .map_err(|(_, error)| StoreFailed(error.to_string()))
    }

    /// Carries out a batch. When one of it fails, the two halves are tried apart, down to the one that fails alone: the
    /// database may have rolled back the others with it, as it does when the disk is full.
    fn commit(&mut self, mut batch: Vec<Box<dyn Order>>) {
        match self.attempt(&mut batch) {
            Ok(()) => batch.into_iter().for_each(|order| answer(order, None)),
            Err(failed) if batch.len() == 1 => {
                for order in batch {
                    answer(order, Some(failed.clone()));
                }
            }
            Err(_) => {
                let second = batch.split_off(batch.len() / 2);
                self.commit(batch);
                self.commit(second);
            }
        }
    }

    /// All of it in one transaction, or nothing.
    fn attempt(&mut self, batch: &mut [Box<dyn Order>]) -> Result<(), StoreFailed> {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.db.file.execute_batch("BEGIN")?;
            for order in batch {
                order.carry_out(&mut self.db)?;
            }
            self.db.file.execute_batch("COMMIT")
        }));
        let failed = match outcome {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => StoreFailed(error.to_string()),
            Err(panic) => StoreFailed(format!("an order panicked: {}", said(&*panic))),
        };
        self.db.addresses.forget();
        if !self.db.file.is_autocommit()
            && let Err(error) = self.db.file.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "the store could not roll back");
        }
        Err(failed)
    }
}

/// Tells whoever waits. Their panic is theirs alone.
fn answer(order: Box<dyn Order>, failed: Option<StoreFailed>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| order.answer(failed))) {
        let what = said(&*panic);
        tracing::error!(what, "who was told of a stored order panicked");
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("of an unknown kind")
}
