//! The definition of `loaner hub`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args as ClapArgs;
use clap::builder::FalseyValueParser;
use loaner::hub::HubLimits;
use loaner::hub::auth::Algorithm;

use super::args::LogOptions;

/// `loaner hub`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  loaner hub\n  loaner hub --listen 0.0.0.0:8080 --listen 0.0.0.0:8001\n  loaner hub --listen 0.0.0.0:443 --tls-cert chain.pem --tls-key key.pem \\\n      --jwks https://id.example/keys --jwt-issuer https://id.example \\\n      --jwt-audience loaner --admin-token-file admin.token\n  loaner hub --ice-server stun:turn.example:3478 --turn-server turn:turn.example:3478 \\\n      --turn-secret-file turn.secret\n  loaner hub --check-config\n\nThe first is for this machine only. In the second, 8001 is for peers of sleap-rtc,\nwhich expect HTTP there. The third is for the open internet, and trusts the tokens of\nan issuer. The fourth helps peers behind NATs that let no direct path through; workers\nand clients of Loaner reach TURN servers by UDP, without TLS.\n\nPaths: / (workers and clients), /ws (devices, with a token), /health, /ready, /metrics\n(JSON, or Prometheus' format for who accepts it), and with the administrator's token\n/connections, /rooms, /limits. SIGTERM drains: peers are told to come back.\n\nExit codes and configuration: loaner --help"
)]
pub struct HubArgs {
    /// Where to listen for WebSocket and HTTP; may be given several times. Port 0 picks a free one.
    #[arg(
        long,
        env = "LOANER_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8080",
        value_delimiter = ',',
        value_parser = address
    )]
    pub listen: Vec<SocketAddr>,
    /// Where rooms and mailboxes are kept: a file, or `memory`, which forgets them when the hub stops. Without it,
    /// loaner/hub.sqlite in the state directory of the user.
    #[arg(long, env = "LOANER_STORE", value_name = "FILE")]
    pub store: Option<PathBuf>,
    /// The hub's name, which its ids carry.
    #[arg(long, env = "LOANER_NODE", value_name = "NAME", default_value = "hub")]
    pub node: String,
    /// Send a JSON ping too, which the sleap-rtc workers of 2026 wait for.
    #[arg(long, env = "LOANER_JSON_PING", value_parser = FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub json_ping: bool,
    /// A STUN server to tell peers of (stun:HOST:PORT); may be given several times.
    #[arg(
        long,
        env = "LOANER_ICE_SERVER",
        value_name = "URL",
        value_delimiter = ','
    )]
    pub ice_server: Vec<String>,
    /// A TURN server to tell peers of (turn:HOST:PORT), for those that cannot reach each other; may be given several
    /// times.
    #[arg(
        long,
        env = "LOANER_TURN_SERVER",
        value_name = "URL",
        value_delimiter = ','
    )]
    pub turn_server: Vec<String>,
    /// The file with the secret that the TURN servers know too (coturn: use-auth-secret, static-auth-secret). Peers get
    /// credentials made with it, good for 12 hours. LOANER_TURN_SECRET takes the secret itself.
    #[arg(long, env = "LOANER_TURN_SECRET_FILE", value_name = "FILE")]
    pub turn_secret_file: Option<PathBuf>,
    /// The certificate chain, as PEM; with --tls-key the hub speaks TLS on every address. A renewed one is taken up.
    #[arg(
        long,
        env = "LOANER_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, as PEM.
    #[arg(
        long,
        env = "LOANER_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,
    /// An origin whose pages may connect (https://lab.example); may be given several times. Without it, any.
    #[arg(
        long,
        env = "LOANER_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub origin: Vec<String>,
    /// A file with the administrator's token, for /connections, /rooms and /limits.
    #[arg(long, env = "LOANER_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// Accept tokens of others, signed with the secret in this file (HS256).
    #[arg(long, env = "LOANER_JWT_SECRET_FILE", value_name = "FILE")]
    pub jwt_secret_file: Option<PathBuf>,
    /// Accept tokens of others, signed with the key to this public key (ALGORITHM:FILE, PEM); may be given several times.
    #[arg(
        long,
        env = "LOANER_JWT_KEY",
        value_name = "ALGORITHM:FILE",
        value_delimiter = ','
    )]
    pub jwt_key: Vec<KeyFile>,
    /// Accept tokens of others, signed with a key that is published here (JWKS).
    #[arg(long, env = "LOANER_JWKS", value_name = "URL")]
    pub jwks: Option<String>,
    /// The algorithms that tokens of others may use: HS256, RS256, ES256, EdDSA. Without it, those of the keys given,
    /// and RS256, ES256 and EdDSA with --jwks.
    #[arg(
        long,
        env = "LOANER_JWT_ALGORITHM",
        value_name = "ALGORITHM",
        value_delimiter = ','
    )]
    pub jwt_algorithm: Vec<Algorithm>,
    /// Whose tokens are accepted (`iss`); may be given several times.
    #[arg(
        long,
        env = "LOANER_JWT_ISSUER",
        value_name = "ISSUER",
        value_delimiter = ','
    )]
    pub jwt_issuer: Vec<String>,
    /// What the issuers call this hub (`aud`); may be given several times.
    #[arg(
        long,
        env = "LOANER_JWT_AUDIENCE",
        value_name = "AUDIENCE",
        value_delimiter = ','
    )]
    pub jwt_audience: Vec<String>,
    /// By how many seconds clocks may differ (at most 30).
    #[arg(long, env = "LOANER_JWT_LEEWAY", value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=30))]
    pub jwt_leeway: u64,
    /// Refuse tokens of others without `nbf`.
    #[arg(long, env = "LOANER_JWT_REQUIRE_NBF", value_parser = FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub jwt_require_nbf: bool,
    /// Take a token without `device_id` as one of the device named like its user.
    #[arg(long, env = "LOANER_DEVICE_FROM_USER", value_parser = FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub device_from_user: bool,
    /// Make room tokens of the classic short form (6 digits), which can be guessed.
    #[arg(long, env = "LOANER_CLASSIC_ROOM_TOKENS", value_parser = FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub classic_room_tokens: bool,
    /// Change a limit (NAME=NUMBER; /limits and `loaner hub --check-config` list them); may be given several times.
    #[arg(
        long,
        env = "LOANER_LIMIT",
        value_name = "NAME=NUMBER",
        value_delimiter = ','
    )]
    pub limit: Vec<LimitChange>,
    /// Write no line for each request and the end of each socket.
    #[arg(long, env = "LOANER_NO_ACCESS_LOG", value_parser = FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub no_access_log: bool,
    /// Where the log goes.
    #[command(flatten)]
    pub log: LogOptions,
    /// Only look whether a hub could start with these settings.
    #[arg(long)]
    pub check_config: bool,
}

/// A public key for tokens of others.
#[derive(Debug, Clone)]
pub struct KeyFile {
    /// What it is for.
    pub algorithm: Algorithm,
    /// Where it is.
    pub file: PathBuf,
}

impl FromStr for KeyFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (algorithm, file) = text
            .split_once(':')
            .ok_or("an algorithm and a file were expected, such as ES256:issuer.pem")?;
        Ok(KeyFile {
            algorithm: algorithm.parse().map_err(|error| format!("{error}"))?,
            file: file.into(),
        })
    }
}

/// A limit with another value.
#[derive(Debug, Clone)]
pub struct LimitChange {
    name: String,
    value: u64,
}

impl LimitChange {
    /// Changes the limit; it was found when the change was read.
    pub fn apply(&self, limits: &mut HubLimits) {
        limits.set(&self.name, self.value);
    }
}

impl FromStr for LimitChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .ok_or("a name and a number were expected, such as sockets=20000")?;
        let value = value
            .parse()
            .map_err(|_| format!("`{value}` is not a whole number"))?;
        if !HubLimits::default().set(name, value) {
            let known: Vec<_> = HubLimits::NAMES.to_vec();
            return Err(format!(
                "there is no limit `{name}`; there are: {}",
                known.join(", ")
            ));
        }
        Ok(LimitChange {
            name: name.to_owned(),
            value,
        })
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "an IP address and a port were expected, such as 127.0.0.1:8080 (this machine only) or 0.0.0.0:8080 (everybody)"
            .to_owned()
    })
}
