//! The hub: whether it is there, what its clock says, and whether one is let in.

use std::time::{Duration, Instant, SystemTime};

use actix::prelude::*;
use awc::http::StatusCode;
use awc::http::header::{DATE, HttpDate};
use serde_json::Value;
use tokio::sync::oneshot;

use super::{DEADLINE, Finding};
use crate::actors::session::{HubAccess, HubUrl, SessionActor, SessionNews, Trust, session};
use crate::actors::{Died, Feed};
use crate::charts::session::Input;
use crate::client::describe;
use crate::identity::Keeper;
use crate::rtc::IceServer;
use crate::worker::ice_servers;

/// Clocks that differ by more make tokens and credentials invalid before or after their time.
pub const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(30);
/// No hub says more of its health, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Asks for the hub's health, and compares clocks.
pub(super) async fn health(hub: HubUrl, trust: Trust) -> Vec<Finding> {
    let access = access(hub, trust);
    let begun = Instant::now();
    let asked = tokio::time::timeout(DEADLINE, ask(&access)).await;
    let (status, date, body) = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(why)) => return unreachable(&access.url, &why),
        Err(_) => {
            let why = format!("no answer came within {} s", DEADLINE.as_secs());
            return unreachable(&access.url, &why);
        }
    };
    let took = begun.elapsed();
    let healthy = body["status"] == "healthy";
    let version: String = body["version"]
        .as_str()
        .map(|version| {
            version
                .chars()
                .filter(|c| c.is_ascii_graphic())
                .take(32)
                .collect()
        })
        .unwrap_or_else(|| "unknown".to_owned());
    let hub = match (status, healthy) {
        (StatusCode::OK, true) => Finding::ok(
            "hub",
            format!(
                "{} is healthy (version {version}, {} ms)",
                access.url,
                took.as_millis()
            ),
        ),
        _ => Finding::fail(
            "hub",
            format!(
                "something answers at {}, but not as a hub does (HTTP status {status})",
                access.url
            ),
            "check the address: --hub http://HOST:PORT",
        ),
    };
    let clock = match date {
        Some(date) => clock(date, SystemTime::now(), took),
        None => Finding::warn(
            "clock", "not compared: the answer has no date", "compare it with another clock",
        ),
    };
    vec![hub, clock]
}

fn unreachable(hub: &HubUrl, why: &str) -> Vec<Finding> {
    vec![
        Finding::fail(
            "hub",
            format!("{hub} cannot be reached: {why}"),
            "is it running, is the address right (--hub URL), and does a firewall let it through?",
        ),
        Finding::warn("clock", "not compared: the hub is not reached", "see hub"),
    ]
}

/// Access that leaves no trace here.
fn access(hub: HubUrl, trust: Trust) -> HubAccess {
    let keeper = Keeper::in_memory(&hub.to_string());
    HubAccess::new(hub, trust, keeper)
}

async fn ask(hub: &HubAccess) -> Result<(StatusCode, Option<SystemTime>, Value), String> {
    let request = hub.client(None).get(hub.url.endpoint("health"));
    let mut answer = request.send().await.map_err(|error| error.to_string())?;
    let date = answer
        .headers()
        .get(DATE)
        .and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| date.parse::<HttpDate>().ok());
    let body = answer.body().limit(MAX_BODY).await.unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Ok((answer.status(), date.map(SystemTime::from), body))
}

/// Compares the hub's clock with ours, as it is after an answer that `took` so long. Dates are in whole seconds.
fn clock(theirs: SystemTime, ours: SystemTime, took: Duration) -> Finding {
    let (difference, who) = match ours.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let seconds = difference.as_secs();
    if difference.saturating_sub(took) <= MAX_CLOCK_DIFFERENCE {
        return Finding::ok("clock", format!("within {} s of the hub's", seconds + 1));
    }
    Finding::warn(
        "clock",
        format!("this machine's is {seconds} s {who} the hub's"),
        "have both kept by NTP (timedatectl set-ntp true): tokens and credentials are good for a time only",
    )
}

/// Registers at the hub, in a room of its own that is gone afterwards; its servers go to `tell`, once they are known or
/// it is known that there are none.
pub(super) async fn sign_in(
    hub: HubUrl,
    trust: Trust,
    tell: oneshot::Sender<Option<Vec<IceServer>>>,
) -> Vec<Finding> {
    let access = access(hub, trust);
    let shown = access.url.to_string();
    let begun = Instant::now();
    let (end, ended) = oneshot::channel();
    let guest = Guest::create(move |ctx| {
        let owner = ctx.address().recipient();
        let supervisor = Some(ctx.address().recipient());
        Guest {
            session: session(access, None, describe(), owner, "doctor", supervisor),
            let_in: None,
            tell: Some(tell),
            end: Some(end),
        }
    });
    let result = tokio::time::timeout(DEADLINE, ended).await;
    guest.do_send(Leave);
    let advice = "see hub; where HTTP works and this does not, a proxy on the way may not let WebSockets through";
    vec![match result {
        Ok(Ok(Ok(()))) => Finding::ok(
            "sign-in",
            format!(
                "registered over a WebSocket ({} ms)",
                begun.elapsed().as_millis()
            ),
        ),
        Ok(Ok(Err(why))) => Finding::fail("sign-in", why, advice),
        Ok(Err(_)) | Err(_) => Finding::fail(
            "sign-in",
            format!("{shown} did not let us in within {} s", DEADLINE.as_secs()),
            advice,
        ),
    }]
}

/// A peer that comes, looks around, and leaves.
struct Guest {
    session: Addr<SessionActor>,
    let_in: Option<()>,
    tell: Option<oneshot::Sender<Option<Vec<IceServer>>>>,
    end: Option<oneshot::Sender<Result<(), String>>>,
}

/// The deadline is over.
#[derive(Message)]
#[rtype(result = "()")]
struct Leave;

impl Guest {
    fn tell(&mut self, servers: Option<Vec<IceServer>>) {
        if let Some(tell) = self.tell.take() {
            let _ = tell.send(servers);
        }
    }

    fn finish(&mut self, result: Result<(), String>) {
        self.tell(None);
        if let Some(end) = self.end.take() {
            let _ = end.send(result);
        }
    }
}

impl Actor for Guest {
    type Context = Context<Self>;
}

impl Handler<SessionNews> for Guest {
    type Result = ();

    fn handle(&mut self, news: SessionNews, _: &mut Self::Context) {
        match news {
            SessionNews::Registered(registered) => {
                self.let_in = Some(());
                self.tell(Some(ice_servers(&registered.ice_servers)));
                self.session.do_send(Feed(Input::Shutdown));
            }
            SessionNews::Frame(_) | SessionNews::Down => {}
            SessionNews::Closed => {
                let let_in = self
                    .let_in
                    .ok_or_else(|| "the hub did not answer".to_owned());
                self.finish(let_in);
            }
            SessionNews::Failed(error) => self.finish(Err(error.to_string())),
        }
    }
}

impl Handler<Leave> for Guest {
    type Result = ();

    fn handle(&mut self, _: Leave, _: &mut Self::Context) {
        self.tell(None);
        self.session.do_send(Feed(Input::Shutdown));
    }
}

impl Handler<Died> for Guest {
    type Result = ();

    fn handle(&mut self, died: Died, _: &mut Self::Context) {
        self.finish(Err(format!("the {} died: a defect of Loaner", died.chart)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    /// Half a minute is taken for what networks and whole seconds do; more is told, with its direction.
    #[test]
    fn a_clock_that_is_off_is_told() {
        let ours = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let off = |seconds: i64| {
            let by = Duration::from_secs(seconds.unsigned_abs());
            let theirs = if seconds < 0 { ours - by } else { ours + by };
            clock(theirs, ours, Duration::ZERO)
        };
        for fine in [0, 30, -30] {
            assert_eq!(off(fine).verdict, Verdict::Ok, "{fine}");
        }
        assert_eq!(off(31).verdict, Verdict::Warn);
        assert_eq!(off(90).found, "this machine's is 90 s behind the hub's");
        assert_eq!(off(-90).found, "this machine's is 90 s ahead of the hub's");
        let slow = clock(ours - Duration::from_secs(33), ours, Duration::from_secs(4));
        assert_eq!(slow.verdict, Verdict::Ok, "the answer took a while");
    }
}
