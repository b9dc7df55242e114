//! `loaner hub`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use loaner::hub::auth::{Algorithm, AuthConfig, Jwks, KeySource, Secret};
use loaner::hub::ice::IceConfig;
use loaner::hub::store::{Examined, Place};
use loaner::hub::{Hub, HubConfig, HubLimits, TlsFiles};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;

use super::exit::{Exit, Failure};
use super::hub_args::HubArgs;
use super::{Signals, hub_ice, print};

/// The fewest characters of an administrator's token.
const ADMIN_TOKEN: usize = 16;

/// Runs a hub until it is told to stop.
pub async fn run(args: HubArgs, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    raise_open_files();
    let check = args.check_config;
    let ice = hub_ice::ice(
        args.ice_server.clone(),
        args.turn_server.clone(),
        args.turn_secret_file.as_deref(),
    )?;
    let config = config(args, ice).map_err(Failure::usage)?;
    if check {
        return check_config(&config, json);
    }
    let mut hub = Hub::start(config).map_err(|error| Failure::new(Exit::Other, error))?;
    for addr in &hub.addrs {
        let scheme = if hub.has_tls() { "https" } else { "http" };
        print(
            json,
            &json!({ "event": "listening", "url": format!("{scheme}://{addr}") }),
            || format!("The hub listens on {scheme}://{addr}"),
        );
    }
    super::service::ready("listening");
    tokio::select! {
        ended = hub.ended() => return ended.map_err(|error| Failure::new(Exit::Other, error)),
        () = signals.next() => {}
    }
    super::service::stopping();
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

fn check_config(config: &HubConfig, json: bool) -> Result<(), Failure> {
    let examined = Hub::check(config).map_err(|error| Failure::new(Exit::Other, error))?;
    let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    let store = match &config.store {
        Place::File(path) => path.display().to_string(),
        Place::Memory => "memory".to_owned(),
    };
    let limits: Vec<String> = HubLimits::NAMES
        .iter()
        .filter_map(|name| Some(format!("{name}={}", config.limits.get(name)?)))
        .collect();
    print(
        json,
        &json!({ "event": "config", "listen": listen, "store": store, "store_state": examined.as_ref(), "node": config.node,
            "tls": config.tls.is_some(), "limits": limits }),
        || {
            format!(
                "A hub could start with these settings.\n  listen: {}{}\n  store:  {store}{}\n  limits: {}",
                listen.join(", "),
                if config.tls.is_some() { " (TLS)" } else { "" },
                match examined {
                    Examined::InUse => " (in use by a hub that runs)",
                    Examined::Absent | Examined::Idle => "",
                },
                limits.join("\n          ")
            )
        },
    );
    Ok(())
}

/// A hub holds many sockets, and the usual limit on open files is for programs that do not.
fn raise_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // Where it is not allowed, fewer sockets are held, and the log says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn config(args: HubArgs, ice: IceConfig) -> anyhow::Result<HubConfig> {
    let auth = auth(&args)?;
    let mut limits = HubLimits::default();
    for change in &args.limit {
        change.apply(&mut limits);
    }
    let admin_token = match &args.admin_token_file {
        None => None,
        Some(file) => {
            let token = secret(file)?;
            if token.len() < ADMIN_TOKEN {
                bail!(
                    "the administrator's token in {} is shorter than {ADMIN_TOKEN} characters; make a new one, such as with: openssl rand -hex 16",
                    file.display()
                );
            }
            Some(Secret::new(token))
        }
    };
    Ok(HubConfig {
        listen: args.listen,
        store: place(args.store)?,
        node: args.node,
        json_ping: args.json_ping,
        ice,
        tls: args
            .tls_cert
            .zip(args.tls_key)
            .map(|(certificate, key)| TlsFiles { certificate, key }),
        origins: args.origin,
        admin_token,
        classic_room_tokens: args.classic_room_tokens,
        access_log: !args.no_access_log,
        auth,
        limits,
        ..HubConfig::default()
    })
}

/// Where the store is, when nothing is said about it: where programs keep what they know.
fn place(given: Option<PathBuf>) -> anyhow::Result<Place> {
    if let Some(given) = given {
        return Ok(if given == Path::new("memory") {
            Place::Memory
        } else {
            Place::File(given)
        });
    }
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/state")))
        .ok_or_else(|| anyhow!("there is no home directory to keep the store in; give --store FILE, or --store memory"))?;
    Ok(Place::File(state.join("loaner").join("hub.sqlite")))
}

fn auth(args: &HubArgs) -> anyhow::Result<AuthConfig> {
    let mut keys = Vec::new();
    if let Some(file) = &args.jwt_secret_file {
        keys.push((
            Algorithm::HS256,
            KeySource::Secret {
                secret: Secret::new(secret(file)?),
                kid: None,
            },
        ));
    }
    for key in &args.jwt_key {
        let pem = std::fs::read_to_string(&key.file)
            .with_context(|| format!("the key {} cannot be read", key.file.display()))?;
        keys.push((
            key.algorithm,
            KeySource::Pem {
                pem,
                algorithm: key.algorithm,
                kid: None,
            },
        ));
    }
    let jwks = args.jwks.as_deref().map(Jwks::new).transpose()?;
    let mut algorithms = args.jwt_algorithm.clone();
    if algorithms.is_empty() {
        algorithms.extend(keys.iter().map(|(algorithm, _)| *algorithm));
        if jwks.is_some() {
            algorithms.extend([Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]);
        }
        algorithms.dedup();
    }
    Ok(AuthConfig {
        algorithms,
        keys: keys.into_iter().map(|(_, key)| key).collect(),
        jwks,
        issuers: args.jwt_issuer.clone(),
        audiences: args.jwt_audience.clone(),
        require_nbf: args.jwt_require_nbf,
        leeway: Duration::from_secs(args.jwt_leeway),
        device_from_user: args.device_from_user,
        ..AuthConfig::default()
    })
}

/// A secret from a file, without the line's end.
fn secret(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = std::fs::read(file)
        .with_context(|| format!("the secret {} cannot be read", file.display()))?;
    while bytes.last().is_some_and(u8::is_ascii_whitespace) {
        bytes.pop();
    }
    if bytes.is_empty() {
        bail!(
            "the file {} is empty; a secret was expected",
            file.display()
        );
    }
    Ok(bytes)
}
