//! How a submission ends, and what its user is told.

use super::Client;
use crate::actors::Feed;
use crate::charts::session::Input as SessionInput;
use crate::charts::submission::Why;
use crate::client::{ClientError, Report};
use actix::prelude::*;

impl Client {
    pub(super) fn settle(&mut self, outcome: Result<Report, ClientError>, ctx: &mut Context<Self>) {
        if self.outcome.is_some() {
            return;
        }
        self.outcome = Some(outcome);
        self.stop_streams();
        let readers = std::mem::take(&mut self.readers);
        let (link, session) = (self.link.take(), self.session.clone());
        // The readers end with the channel; until then a file that is given up may not have left the disk.
        let done = async move {
            if let Some(link) = link {
                link.end().await;
            }
            for reader in readers {
                let _ = reader.await;
            }
        };
        let limited =
            async move { tokio::time::timeout(std::time::Duration::from_secs(6), done).await };
        ctx.spawn(
            actix::fut::wrap_future(limited).map(move |_, _: &mut Self, _| {
                session.do_send(Feed(SessionInput::Shutdown));
            }),
        );
    }

    pub(super) fn report(&self) -> Report {
        Report {
            job: self.job.clone(),
            worker: self.worker_id(),
            results: self.results.clone(),
            at_worker: self.at_worker.clone(),
        }
    }

    pub(super) fn failure(&mut self, why: Why) -> ClientError {
        let detail = self.detail.take();
        let message = match why {
            Why::NoWorker => detail.unwrap_or_else(|| "no worker was chosen".to_owned()),
            Why::Rejected => {
                detail.unwrap_or_else(|| "the worker does not take the job".to_owned())
            }
            Why::NoAnswer => "no answer came in time; is the worker still running?".to_owned(),
            Why::NotConnected => format!(
                "no connection to the worker came up ({}); `loaner hub` needs no more than to be reached, but client and worker need a path by UDP, or a TURN server to relay",
                detail
                    .or_else(|| self.no_relay.take())
                    .as_deref()
                    .unwrap_or("ICE found no path")
            ),
            Why::NotSent => format!(
                "the package could not be sent: {}",
                detail.as_deref().unwrap_or("the connection broke")
            ),
            Why::NoFile => self.no_file(detail.as_deref()),
            Why::NotValidated => self.not_validated(),
            Why::LinkLost => format!(
                "the connection to the worker is lost{}; run the same command again",
                detail.map(|why| format!(" ({why})")).unwrap_or_default()
            ),
            Why::JobFailed => format!(
                "the job failed: {}",
                detail.as_deref().unwrap_or("the worker gave no reason")
            ),
            Why::NotReceived => {
                format!(
                    "the results did not arrive whole: {}",
                    detail.as_deref().unwrap_or("none were sent")
                )
            }
            Why::Interrupted => "stopped by the user".to_owned(),
        };
        ClientError::Failed {
            why,
            message,
            results: self.results.clone(),
        }
    }
}
