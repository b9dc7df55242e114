//! `loaner hub`.

use loaner::hub::{Hub, HubConfig};
use serde_json::json;

use super::args::HubArgs;
use super::exit::{Exit, Failure};
use super::{Signals, print};

/// Runs a hub until it is told to stop.
pub async fn run(args: HubArgs, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let config = HubConfig {
        listen: args.listen,
        json_ping: args.json_ping,
        ice_servers: args
            .ice_server
            .iter()
            .map(|url| json!({ "urls": [url] }))
            .collect(),
        ..HubConfig::default()
    };
    let mut hub = Hub::start(config).map_err(|error| Failure::new(Exit::Other, error))?;
    for addr in &hub.addrs {
        print(
            json,
            &json!({ "event": "listening", "url": format!("http://{addr}") }),
            || format!("The hub listens on http://{addr}"),
        );
    }
    tokio::select! {
        ended = hub.ended() => return ended.map_err(|error| Failure::new(Exit::Other, error)),
        () = signals.next() => {}
    }
    tokio::select! {
        () = hub.stop() => {}
        // Who asks twice does not want to wait for peers that do not answer.
        () = signals.next() => {}
    }
    print(json, &json!({ "event": "stopped" }), || {
        "The hub has stopped.".to_owned()
    });
    Ok(())
}
