//! From the sender: who a message is for, whether it is taken, and what becomes of it.
//!
//! A post is live while all that is left of it is in windows, or it is stored, as a whole: when one of its devices
//! cannot take it at once, or has not acknowledged it in time, it is appended for all devices that have not acknowledged it,
//! in one order. So what the store remembers as sent has reached, or will reach, every device that it is for.

use std::sync::Arc;

use super::super::engine::{DeviceKey, Letter, PostRefused, Posting, Receipt, Sink};
use super::Index;
use super::core::{Core, Now};
use super::device::Answer;
use super::repeats::{Known, Mark};

/// A message that waits for its answer.
pub(super) struct Post {
    pub(super) letter: Letter,
    pub(super) sender: Index,
    /// Where the answer goes, if not to the sender's connection.
    pub(super) answer_to: Option<Arc<dyn Sink>>,
    /// Repetitions that wait for it too.
    pub(super) again: Vec<Option<Arc<dyn Sink>>>,
    pub(super) mark: Option<Mark>,
    /// To how many devices it went.
    pub(super) devices: u32,
    /// Those that have not acknowledged it; while `storing`, those that it is appended for.
    pub(super) targets: Vec<Index>,
    /// When it was taken.
    pub(super) at: u64,
    /// It is on its way to the store.
    pub(super) storing: bool,
}

impl Core {
    pub(super) fn post(
        &mut self,
        from: &DeviceKey,
        posting: Posting,
        answer_to: Option<Arc<dyn Sink>>,
        now: Now,
    ) -> Result<(), PostRefused> {
        let sender = self.ensure(from);
        let outcome = self.try_post(sender, from, posting, answer_to, now);
        if outcome.is_err() {
            self.figures.refused += 1;
            self.remove_if_unused(sender);
        }
        outcome
    }

    fn try_post(
        &mut self,
        sender: Index,
        from: &DeviceKey,
        posting: Posting,
        answer_to: Option<Arc<dyn Sink>>,
        now: Now,
    ) -> Result<(), PostRefused> {
        let mark = posting
            .client_message_id
            .as_deref()
            .map(|id| self.marker.mark(id));
        let (unconfirmed, known) = match self.device(sender).and_then(|d| d.out.as_ref()) {
            Some(out) => (
                out.unconfirmed,
                mark.and_then(|mark| out.repeats.get(&mark)),
            ),
            None => (0, None),
        };
        if let Some(Known {
            id,
            devices,
            status: Some(status),
        }) = known
        {
            self.figures.duplicates += 1;
            let receipt = Receipt {
                message_id: id,
                client_message_id: posting.client_message_id,
                status,
                devices: devices as usize,
                duplicate: true,
            };
            self.answer(sender, answer_to.as_ref(), Answer::Receipt(receipt), now);
            return Ok(());
        }
        if unconfirmed >= self.limits.unconfirmed {
            return Err(PostRefused::TooManyUnconfirmed);
        }
        if let Some(post) = known.and_then(|known| self.posts.get_mut(&known.id)) {
            post.again.push(answer_to);
            self.figures.duplicates += 1;
            self.count_unconfirmed(sender, now);
            return Ok(());
        }

        let id = self.ids.peek().ok_or(PostRefused::StoreUnavailable)?;
        let letter = Letter {
            id,
            from: from.clone(),
            client_message_id: posting.client_message_id.clone(),
            content: posting.content.clone(),
            sent_at_ms: now.unix_ms,
        };
        let targets = self.targets(sender, from, &posting)?;
        if let Err(why) = self.admit(&targets, &letter) {
            for target in targets {
                self.remove_if_unused(target);
            }
            return Err(why);
        }

        self.ids.advance();
        self.reserve();
        self.figures.posted += 1;
        self.count_unconfirmed(sender, now);
        let devices = u32::try_from(targets.len()).unwrap_or(u32::MAX);
        if let Some(mark) = mark {
            let known = Known {
                id,
                devices,
                status: None,
            };
            self.remember(sender, mark, known);
        }
        let live = self.give_all(&targets, &letter);
        let bytes = letter.bytes() as u64;
        self.live.add(targets.len() as u64, bytes);
        self.senders
            .charge(&letter.from.user, bytes * targets.len() as u64);
        let post = Post {
            letter,
            sender,
            answer_to,
            again: Vec::new(),
            mark,
            devices,
            targets,
            at: now.at,
            storing: false,
        };
        self.posts.insert(id, post);
        if !live {
            self.store_post(id);
        }
        Ok(())
    }

    /// The devices that a message is for. Those that had no mailbox are known from here on, and nothing else is changed.
    fn targets(
        &mut self,
        sender: Index,
        from: &DeviceKey,
        posting: &Posting,
    ) -> Result<Vec<Index>, PostRefused> {
        let mut targets = Vec::new();
        let to_self = posting.user == from.user;
        let named = posting.device.as_ref().filter(|name| !name.is_empty());
        match named {
            Some(name) => targets.push(self.mailbox(&posting.user, name)?),
            None => {
                targets = self.seen_of(&posting.user);
                if targets.is_empty() {
                    targets.push(self.mailbox(&posting.user, "")?);
                } else if to_self && !posting.echo_self {
                    targets.retain(|target| *target != sender);
                }
            }
        }
        if posting.echo_self && (!to_self || named.is_some()) {
            for other in self.seen_of(&from.user) {
                if other != sender && !targets.contains(&other) {
                    targets.push(other);
                }
            }
        }
        if targets.is_empty() {
            return Err(PostRefused::NoSuchDevice);
        }
        Ok(targets)
    }

    /// The devices of a user that were connected once.
    fn seen_of(&self, user: &str) -> Vec<Index> {
        let all = self.users.get(user).map_or(&[][..], Vec::as_slice);
        let seen = |index: &&Index| {
            let device = self.devices.get(**index as usize);
            device
                .and_then(Option::as_ref)
                .is_some_and(|device| device.seen)
        };
        all.iter().filter(seen).copied().collect()
    }

    /// The mailbox of a name, which need not have been seen.
    fn mailbox(&mut self, user: &Arc<str>, name: &str) -> Result<Index, PostRefused> {
        let key = DeviceKey {
            user: Arc::clone(user),
            device: name.into(),
        };
        if let Some((index, device)) = self.find(&key)
            && device.listed
        {
            return Ok(index);
        }
        let have = self.users.get(user).map_or(0, Vec::len);
        if have >= self.limits.devices_per_user && !name.is_empty() {
            return Err(PostRefused::NoSuchDevice);
        }
        if self.listed >= self.limits.mailboxes {
            return Err(PostRefused::StoreUnavailable);
        }
        let index = self.ensure(&key);
        self.list(index);
        Ok(index)
    }

    /// Whether a letter can go to all of these: quotas, and room in the store if it has to go there.
    fn admit(&mut self, targets: &[Index], letter: &Letter) -> Result<(), PostRefused> {
        let bytes = letter.bytes() as u64;
        let mut live = !self.draining && self.live.bytes + bytes <= self.limits.memory_bytes;
        for target in targets {
            if let Some(device) = self
                .devices
                .get(*target as usize)
                .and_then(Option::as_deref)
            {
                let own = device.key.user == letter.from.user;
                device.load.admits(bytes, own, &self.limits)?;
                live &= device.takes(bytes as usize, &self.limits);
            }
        }
        let together = bytes * targets.len() as u64;
        self.senders
            .admits(&letter.from.user, together, &self.limits)?;
        let full = self.waiting.bytes + together > self.limits.store_bytes
            || self.writing + bytes > self.limits.writing_bytes;
        if full && !live {
            return Err(PostRefused::StoreUnavailable);
        }
        Ok(())
    }

    /// Gives a letter to every device that can take it now. Whether all took it.
    fn give_all(&mut self, targets: &[Index], letter: &Letter) -> bool {
        let bytes = letter.bytes();
        let room = !self.draining && self.live.bytes + bytes as u64 <= self.limits.memory_bytes;
        let mut all = true;
        for target in targets {
            let limits = &self.limits;
            let Some(device) = self
                .devices
                .get_mut(*target as usize)
                .and_then(Option::as_deref_mut)
            else {
                continue;
            };
            device.load.add(1, bytes as u64);
            if !(room && device.takes(bytes, limits) && device.give(letter)) {
                device.backlog = true;
                all = false;
            }
        }
        all
    }

    fn count_unconfirmed(&mut self, sender: Index, now: Now) {
        if let Some(device) = self.device(sender) {
            let out = device.outgoing();
            out.unconfirmed += 1;
            out.sent_at = now.at;
        }
    }

    pub(super) fn remember(&mut self, sender: Index, mark: Mark, known: Known) {
        let most = self.limits.repeats;
        let scarce = self.remembered >= self.limits.repeats_together;
        if let Some(device) = self.device(sender) {
            let balance = device.outgoing().repeats.insert(mark, known, most, scarce);
            self.remembered = self.remembered.saturating_add_signed(balance);
        }
    }

    /// Appends a live post to the store, for every device that has not acknowledged it.
    pub(super) fn store_post(&mut self, id: u64) {
        let Some(post) = self.posts.get_mut(&id).filter(|post| !post.storing) else {
            return;
        };
        post.storing = true;
        let (bytes, count) = (post.letter.bytes() as u64, post.targets.len() as u64);
        let mut letters = Vec::with_capacity(post.targets.len());
        for target in &post.targets {
            let device = self
                .devices
                .get_mut(*target as usize)
                .and_then(Option::as_deref_mut);
            if let Some(device) = device {
                device.appends += 1;
                device.stored_to = device.stored_to.max(id);
                letters.push((device.key.clone(), post.letter.clone()));
            }
        }
        self.live.take(count, bytes);
        self.writing += bytes;
        self.waiting.add(count, bytes * count);
        self.orders.append(id, letters, post.devices as usize);
    }
}
