//! `loaner identity`.

use std::io::Read as _;

use loaner::actors::session::{HubAccess, HubUrl};
use loaner::client::{ensure_identity, introduce};
use loaner::identity::{Identity, IdentityError, Share};
use serde_json::json;

use super::args::IdentityArgs;
use super::exit::{Exit, Failure};
use super::inbox::failure;
use super::{Signals, client_access, print};

/// A line is no longer than this, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// Shows, shares or adopts an identity.
pub async fn run(mut args: IdentityArgs, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let shared = args.adopt.take().map(|line| share(&line)).transpose()?;
    if let Some(share) = &shared {
        args.at.hub = hub_of(share)?;
    }
    let hub = client_access(args.at)?;
    let work = async {
        match shared {
            Some(share) => adopt(&hub, share, json).await,
            None if args.share => {
                let identity = ensure_identity(&hub).await.map_err(failure)?;
                eprintln!(
                    "Whoever has this line can read the inbox of user {} and speak as that user. Run on the other machine:\n  loaner identity --adopt LINE",
                    identity.user
                );
                let line = Share::from(&identity).to_string();
                print(json, &json!({ "event": "share", "line": line }), || {
                    line.clone()
                });
                Ok(())
            }
            None => show(&hub, json),
        }
    };
    tokio::select! {
        done = work => done,
        () = signals.next() => Err(Failure::say(Exit::Interrupted, "stopped by the user")),
    }
}

fn share(line: &str) -> Result<Share, Failure> {
    let mut text = line.to_owned();
    if line == "-" {
        text.clear();
        std::io::stdin()
            .take(MAX_LINE)
            .read_to_string(&mut text)
            .map_err(|error| Failure::new(Exit::File, error))?;
    }
    text.parse()
        .map_err(|error: loaner::identity::ShareError| Failure::new(Exit::Usage, error))
}

fn hub_of(share: &Share) -> Result<HubUrl, Failure> {
    share
        .hub
        .parse()
        .map_err(|error: loaner::actors::session::HubUrlError| Failure::new(Exit::Usage, error))
}

fn file(error: IdentityError) -> Failure {
    Failure::new(Exit::File, error)
}

fn show(hub: &HubAccess, json: bool) -> Result<(), Failure> {
    let path = hub.keeper.path().map(|path| path.display().to_string());
    let Some(identity) = hub.keeper.load().map_err(file)? else {
        let event = json!({ "event": "identity", "hub": hub.keeper.hub(), "file": path, "user": null, "device": null });
        print(json, &event, || {
            format!(
                "Nobody is known here at {} yet. The first `loaner run` there makes an identity;\n`loaner identity --adopt LINE` takes over that of another machine.",
                hub.keeper.hub()
            )
        });
        return Ok(());
    };
    tell(hub, &identity, path, json);
    Ok(())
}

fn tell(hub: &HubAccess, identity: &Identity, path: Option<String>, json: bool) {
    let Identity {
        user, device_id, ..
    } = identity;
    let event = json!({ "event": "identity", "hub": hub.keeper.hub(), "user": user, "device": device_id, "file": path });
    print(json, &event, || {
        let path = path.unwrap_or_else(|| "nowhere: it ends with this process".to_owned());
        format!(
            "hub     {}\nuser    {user}\ndevice  {device_id}\nfile    {path}",
            hub.keeper.hub()
        )
    });
}

async fn adopt(hub: &HubAccess, share: Share, json: bool) -> Result<(), Failure> {
    let lock = hub.keeper.lock().await.map_err(file)?;
    match hub.keeper.load().map_err(file)? {
        Some(known) if known.user == share.user => {}
        Some(known) => {
            let path = hub.keeper.path().map(|path| path.display().to_string());
            return Err(Failure::say(
                Exit::Usage,
                format!(
                    "this machine is user {} at {} already; to give that up for good, remove {}",
                    known.user,
                    hub.keeper.hub(),
                    path.unwrap_or_default()
                ),
            ));
        }
        None => hub.keeper.save(share.adopt()).map_err(file)?,
    }
    drop(lock);
    // From now on, mail waits for this device too.
    introduce(hub).await.map_err(failure)?;
    show(hub, json)
}
