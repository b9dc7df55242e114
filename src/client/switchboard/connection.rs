//! The connection to the worker, and the files that go over it.

use actix::prelude::*;
use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Client, Link};
use crate::actors::Feed;
use crate::actors::peer::{CHANNEL_LABEL, Dial, LinkEvent, LinkId, LinkNews, connect};
use crate::actors::transfer::{Direction, Milestones, TransferActor, TransferEnded, transfer};
use crate::charts::PeerId;
use crate::charts::peer::Lost;
use crate::charts::submission::Input;
use crate::charts::transfer::Input as TransferInput;
use crate::client::reader::{Place, ResultsComing, read};
use crate::client::{Package, Progress, Work};
use crate::files::{send_file, send_own_file};
use crate::rtc::RtcConfig;
use crate::tunnel::tube::{self, Line};
use crate::wire::own::{Digest, FileOffer, OwnText, SPEAKS_OF_JOBS, VERSIONS};
use crate::wire::{ChannelText, PackageKind, ToHub};
use crate::worker::candidate_value;

/// Answers of a worker that wait to be heard; it has no reason to give more.
const ANSWERS: usize = 8;

impl Client {
    pub(super) fn dial(&mut self, ctx: &mut Context<Self>) {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let addr = connect(Dial {
            link: id,
            peer: PeerId::from(self.worker_id()),
            offer: None,
            label: match self.worker_takes_tubes() {
                true => tube::CHANNEL_LABEL,
                false => CHANNEL_LABEL,
            },
            config: RtcConfig {
                trickle: self.worker_is_ours(),
                ..self.rtc.clone()
            },
            plane: self.plane.clone(),
            owner: ctx.address().recipient(),
            supervisor: Some(ctx.address().recipient()),
        });
        self.link = Some(Link {
            id,
            addr,
            way: None,
            line: None,
            heard: None,
            open: false,
            away: false,
            answered: false,
        });
    }

    pub(super) fn drop_connection(&mut self) {
        if let Some(link) = self.link.take() {
            actix::spawn(link.end());
        }
    }

    /// Reads what the worker says.
    pub(super) fn listen(&mut self, line: Line, ctx: &mut Context<Self>) {
        let Some(link) = &mut self.link else {
            return;
        };
        link.line = Some(line.clone());
        let (answers, heard) = mpsc::channel(ANSWERS);
        link.heard = Some(heard);
        let (said, coming) = (ctx.address().recipient(), ctx.address().recipient());
        let (id, ui) = (link.id, self.ui.clone());
        let reading = read(id, line, said, coming, answers, ui);
        self.readers.push(self.plane.spawn(reading));
    }

    pub(super) fn connected(&mut self) {
        if let Some(link) = &mut self.link {
            link.open = true;
        }
        self.ui.progress(Progress::Connected);
        self.feed(Input::ChannelOpen);
    }

    /// The connection is lost for good.
    pub(super) fn lost(&mut self, never_opened: bool) {
        if let Some(link) = &mut self.link {
            link.open = false;
        }
        self.feed(match never_opened {
            true => Input::DialFailed,
            false => Input::LinkLost,
        });
    }

    pub(super) fn begin_transfer(
        &self,
        direction: Direction,
        ctx: &mut Context<Self>,
    ) -> (Addr<TransferActor>, Milestones) {
        let name = if direction == Direction::Out {
            "package"
        } else {
            "results"
        };
        transfer(
            ctx.address().recipient(),
            direction,
            name,
            Some(ctx.address().recipient()),
        )
    }

    pub(super) fn send_package(&mut self, ctx: &mut Context<Self>) {
        let versions = self.worker_versions();
        let Work::Package(package) = &self.work else {
            return;
        };
        let Some(link) = &mut self.link else {
            return;
        };
        let (Some(channel), heard) = (link.line.clone(), link.heard.take()) else {
            return;
        };
        let mut heard = heard.filter(|_| versions.is_some());
        let key = self.secret.map(|secret| package_key(&secret, package));
        let (path, name, size, ui) = (
            package.path.clone(),
            package.name.clone(),
            package.size,
            self.ui.clone(),
        );
        let kind = package.kind.clone();
        let (addr, milestones) = self.begin_transfer(Direction::Out, ctx);
        self.upload = Some(addr);
        let (output_dir, hint) = match kind {
            PackageKind::Track => (".", "false"),
            PackageKind::Train | PackageKind::Other(_) => ("models", "False"),
        };
        ui.progress(Progress::Uploading { bytes: size });
        self.plane.spawn(async move {
            let version = match &mut heard {
                Some(heard) => greet(&channel, heard).await,
                None => Ok(None),
            };
            let version = match version {
                Ok(version) => version,
                Err(reason) => return milestones.broke(reason).await,
            };
            let output_dir = output_dir.to_owned();
            let words = match version {
                Some(SPEAKS_OF_JOBS..) => vec![ChannelText::Own(OwnText::Package {
                    kind: kind.to_string(),
                    output_dir,
                })],
                _ => vec![
                    ChannelText::PackageType(kind),
                    ChannelText::OutputDir(output_dir),
                ],
            };
            for text in words {
                if let Err(error) = channel.send_text(&text.to_text()).await {
                    return milestones.broke(error).await;
                }
            }
            let offer = FileOffer {
                name: name.clone(),
                size,
                key,
                hint: String::new(),
            };
            if let (Some(mut heard), Some(_)) = (heard, version) {
                let begun = |from| {
                    if from > 0 {
                        ui.progress(Progress::Continued { bytes: from });
                    }
                };
                let sent = |bytes| ui.progress(Progress::Uploaded { bytes });
                return send_own_file(channel, path, offer, &mut heard, milestones, begun, sent)
                    .await;
            }
            send_file(channel, path, name, hint.to_owned(), milestones, |bytes| {
                ui.progress(Progress::Uploaded { bytes });
            })
            .await;
        });
    }

    pub(super) fn receive_results(&mut self, ctx: &mut Context<Self>) {
        let Some(coming) = self.coming.take() else {
            return;
        };
        let (addr, milestones) = self.begin_transfer(Direction::In, ctx);
        self.download = Some(addr);
        let name = free_name(&self.output_dir, &coming.name);
        self.ui.progress(Progress::Downloading {
            name: name.clone(),
            bytes: coming.size,
        });
        // A reader that is gone has lost its channel, which is reported on its own.
        let _ = coming.reply.send(Place {
            dir: self.output_dir.clone(),
            name,
            milestones,
        });
    }

    pub(super) fn stop_streams(&mut self) {
        for transfer in [self.upload.take(), self.download.take()]
            .into_iter()
            .flatten()
        {
            transfer.do_send(Feed(TransferInput::Abort));
        }
    }
}

impl Handler<LinkNews> for Client {
    type Result = ();

    fn handle(&mut self, news: LinkNews, ctx: &mut Self::Context) {
        let (sender, target) = (self.peer_id.clone(), self.worker_id());
        let Some(link) = self.link.as_mut().filter(|link| link.id == news.link) else {
            return;
        };
        match news.what {
            LinkEvent::Description(sdp) => self.send(ToHub::Offer {
                sender,
                target,
                sdp,
            }),
            LinkEvent::Candidate(candidate) => self.send(ToHub::Candidate {
                sender,
                target,
                candidate: candidate_value(&candidate),
            }),
            LinkEvent::NoRelay(why) => {
                tracing::warn!(why, "only direct paths to the worker are tried");
                self.no_relay = Some(why);
            }
            LinkEvent::Channel(channel) if channel.label() == tube::CHANNEL_LABEL => {
                self.begin_tube(channel, ctx);
            }
            LinkEvent::Channel(channel) => self.listen(Line::Channel(channel), ctx),
            // What rides on a tube has a manager, which says what becomes of it.
            LinkEvent::Open
            | LinkEvent::Suspect
            | LinkEvent::Recovered
            | LinkEvent::Lost(Lost::ClosedByPeer | Lost::PathLost)
                if link.way.is_some() => {}
            LinkEvent::Open => self.connected(),
            LinkEvent::Suspect => self.ui.progress(Progress::Suspect),
            LinkEvent::Recovered => self.ui.progress(Progress::Recovered),
            LinkEvent::Lost(why) => self.lost(why == Lost::NeverOpened),
            LinkEvent::Closed => {}
        }
    }
}

impl Handler<ResultsComing> for Client {
    type Result = ();

    fn handle(&mut self, coming: ResultsComing, _: &mut Self::Context) {
        if self
            .link
            .as_ref()
            .is_some_and(|link| link.id == coming.link)
        {
            // Nothing is taken from a job whose results stay at the worker.
            if self.named().is_none() {
                self.coming = Some(coming);
            }
            self.feed(Input::ResultsAnnounced);
        }
    }
}

impl Handler<TransferEnded> for Client {
    type Result = ();

    fn handle(&mut self, ended: TransferEnded, _: &mut Self::Context) {
        let event = match (ended.result, ended.direction) {
            (Ok(_), Direction::Out) => {
                self.ui.progress(Progress::Sent);
                Input::PackageSent
            }
            (Ok(path), Direction::In) => {
                self.ui.progress(Progress::Received { path: path.clone() });
                self.results = Some(path);
                Input::ResultsReceived
            }
            (Err(reason), direction) => {
                self.detail.get_or_insert(reason);
                if direction == Direction::Out {
                    Input::SendFailed
                } else {
                    Input::ReceiveFailed
                }
            }
        };
        self.feed(event);
    }
}

/// How long a worker that says it is a Loaner may take to answer the greeting, while it is there.
const GREETING: Duration = Duration::from_secs(30);

/// The version of Loaner's own words that worker and client have in common; without one, the inherited words are spoken.
async fn greet(channel: &Line, heard: &mut mpsc::Receiver<OwnText>) -> Result<Option<u32>, String> {
    let hello = ChannelText::Own(OwnText::Hello(VERSIONS));
    channel
        .send_text(&hello.to_text())
        .await
        .map_err(|error| error.to_string())?;
    let answer = tokio::select! {
        biased;
        answer = heard.recv() => answer,
        () = channel.was_there(GREETING) => {
            return Err("the worker did not answer the greeting".to_owned());
        }
    };
    match answer {
        Some(OwnText::Welcome { version }) => Ok(Some(version)),
        Some(OwnText::NoVersion { versions }) => {
            tracing::info!(theirs = %versions, ours = %VERSIONS, "no version in common: transfers are neither verified nor continued");
            Ok(None)
        }
        Some(other) => Err(format!("the worker answered the greeting with {other:?}")),
        None => Err("the connection was lost".to_owned()),
    }
}

/// What an earlier attempt at the same package is found by. Nobody else can name it.
fn package_key(secret: &[u8; 32], package: &Package) -> Digest {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(&package.size.to_le_bytes());
    hasher.update(package.name.as_bytes());
    Digest(*hasher.finalize().as_bytes())
}

/// `name`, or `name-2` and so on: results never replace what is there.
pub(in crate::client) fn free_name(dir: &Path, name: &str) -> String {
    let path = Path::new(name);
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let extension = path
        .extension()
        .map(|extension| format!(".{}", extension.to_string_lossy()))
        .unwrap_or_default();
    std::iter::once(name.to_owned())
        .chain((2..).map(|number| format!("{stem}-{number}{extension}")))
        .find(|candidate| !dir.join(candidate).exists())
        .unwrap_or_else(|| name.to_owned())
}
