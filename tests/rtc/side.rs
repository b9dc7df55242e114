//! One side of a connection as a process of its own, that does what it is told: for peers on different machines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use loaner::rtc::{Connection, DataPlane, IceServer, RtcConfig, RtcEvent};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::traffic::{echo, send};

/// How long data may take to move again: the last wait of SCTP is 32 s.
pub const LONG: Duration = Duration::from_secs(90);

/// The test that a side is, and what is set where it is one.
const SIDE: &str = "side::alone_a_side";
const INSIDE: &str = "RTC_TEST_SIDE";

/// A side, seen from the test.
pub struct Side {
    child: Child,
    input: ChildStdin,
    said: std_mpsc::Receiver<Value>,
}

impl Side {
    /// Starts it by this command of this program.
    pub fn start(mut command: Command) -> Side {
        let mut child = command
            .args(["--exact", SIDE, "--ignored", "--nocapture"])
            .env(INSIDE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (say, said) = std_mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Ok(value) = serde_json::from_str(&line) {
                    let _ = say.send(value);
                }
            }
        });
        let input = child.stdin.take().unwrap();
        Side { child, input, said }
    }

    /// Has it do something that succeeds.
    pub fn ask(&mut self, what: &str, with: impl Into<Value>) -> Value {
        writeln!(self.input, "{}", json!([what, with.into()])).unwrap();
        let said = self.said.recv_timeout(LONG);
        let said = said.unwrap_or_else(|error| panic!("{what}: {error}"));
        match said.get("done") {
            Some(done) => done.clone(),
            None => panic!("{what}: {said}"),
        }
    }

    /// The same, for a text.
    pub fn text(&mut self, what: &str, with: &str) -> String {
        self.ask(what, with).as_str().unwrap().to_owned()
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // It may be gone by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a side has.
struct Own {
    connection: Connection,
    /// How many messages have come.
    came: watch::Receiver<usize>,
    stop: watch::Sender<bool>,
}

/// Sends back what comes on the only channel that there is.
async fn echo_only(mut events: mpsc::Receiver<RtcEvent>, came: watch::Sender<usize>) {
    let mut echoes = None;
    while let Some(event) = events.recv().await {
        let RtcEvent::Channel(far) = event else {
            continue;
        };
        assert!(echoes.is_none(), "another channel");
        echoes = Some(tokio::spawn(echo(far, came.clone())));
    }
}

impl Own {
    async fn open(plane: &DataPlane, servers: &Value, offers: bool) -> Own {
        let server = |server: &Value| IceServer {
            urls: vec![server["url"].as_str().unwrap().to_owned()],
            username: server["username"].as_str().unwrap().to_owned(),
            credential: server["credential"].as_str().unwrap().to_owned(),
        };
        let servers = servers.as_array().unwrap().iter();
        let config = RtcConfig {
            ice_servers: servers.map(server).collect(),
            ..RtcConfig::default()
        };
        let (connection, events) = Connection::open(plane, &config).await.unwrap();
        let (came_in, came) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        if offers {
            let near = connection.create_channel("c").await.unwrap();
            plane.spawn(send(near, stopped, came_in));
        } else {
            plane.spawn(echo_only(events, came_in));
        }
        Own {
            connection,
            came,
            stop,
        }
    }

    async fn perform(&mut self, what: &str, with: &Value) -> Result<Value, String> {
        let sdp = with.as_str().unwrap_or_default();
        let told = |error: loaner::rtc::RtcError| error.to_string();
        let connection = &self.connection;
        Ok(match what {
            "offer" => connection.offer().await.map_err(told)?.into(),
            "restart" => connection.restart_offer().await.map_err(told)?.into(),
            "answer" => connection.answer(sdp).await.map_err(told)?.into(),
            "accept" => connection.accept_answer(sdp).await.map_err(told)?.into(),
            "more" => {
                let wanted = *self.came.borrow() + with.as_u64().unwrap() as usize;
                let came = self.came.wait_for(|came| *came >= wanted);
                let came = tokio::time::timeout(LONG, came).await;
                json!(*came.map_err(|_| "no data")?.map_err(|_| "the end")?)
            }
            "stop" => {
                self.stop.send_replace(true);
                // The task that sends drops its end when everything is back.
                let back = tokio::time::timeout(LONG, self.came.wait_for(|_| false)).await;
                let _ = back.map_err(|_| "not everything came back")?;
                json!(*self.came.borrow())
            }
            "came" => json!(*self.came.borrow()),
            "path" => match connection.path().await {
                Some(path) => json!({
                    "local": path.local.address.to_string(),
                    "remote": path.remote.address.to_string(),
                    "relayed": path.is_relayed(),
                    "timed": path.round_trip.is_some(),
                }),
                None => Value::Null,
            },
            "descriptors" => json!(std::fs::read_dir("/proc/self/fd").unwrap().count()),
            other => return Err(format!("unknown: {other}")),
        })
    }
}

/// A side: runs alone in a process of its own, started by the tests of [`Side`].
#[tokio::test]
#[ignore = "does what another process tells it"]
async fn alone_a_side() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let plane = DataPlane::start().unwrap();
    let mut own: Option<Own> = None;
    let (line_in, mut lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = line_in.send(line);
        }
    });
    while let Some(line) = lines.recv().await {
        let (what, with): (String, Value) = serde_json::from_str(&line).unwrap();
        let done = match (&mut own, what.as_str()) {
            (None, "open") => {
                let offers = with["offers"].as_bool().unwrap();
                own = Some(Own::open(&plane, &with["servers"], offers).await);
                Ok(Value::Null)
            }
            (Some(own), _) => own.perform(&what, &with).await,
            (None, _) => Err("not open".to_owned()),
        };
        // A line of its own, whatever the harness wrote before.
        match done {
            Ok(done) => println!("\n{}", json!({ "done": done })),
            Err(failed) => println!("\n{}", json!({ "failed": failed })),
        }
    }
}
