//! A client behind a router that translates addresses and soon forgets whom it did that for.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::inside::{ip, run_inside};
use crate::machines::{Machine, Scene};
use crate::program::PATIENCE;

/// After how long without a packet it forgets.
const FORGETS: Duration = Duration::from_secs(10);
/// How long nothing goes through the tunnel.
const IDLE: Duration = Duration::from_secs(42);
const TEST: &str = "nat::an_idle_tunnel_stays_up_behind_a_nat";

/// Every address of the client becomes the router's own, with another port each time: who is forgotten is somebody else after it.
fn rules(out: &str) -> String {
    format!(
        "table ip nat {{\n chain postrouting {{\n type nat hook postrouting priority srcnat; policy accept\n \
         oifname \"{out}\" masquerade fully-random\n }}\n}}\n"
    )
}

/// A command that finds what is not in everybody's PATH.
fn findable(mut command: Command) -> Command {
    command.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
    command
}

fn run(mut command: Command, input: &str) -> Result<(), String> {
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| error.to_string())?;
    // One that does not read it has failed, and says why.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Has a machine translate, and forget. `command` makes one that runs there.
fn translate(command: impl Fn(&str) -> Command, out: &str) -> Result<(), String> {
    let mut nft = findable(command("nft"));
    nft.args(["-f", "-"]);
    run(nft, &rules(out))?;
    let seconds = FORGETS.as_secs();
    let conntrack = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout";
    for (file, value) in [
        ("/proc/sys/net/ipv4/ip_forward".to_owned(), 1),
        (conntrack.to_owned(), seconds),
        (format!("{conntrack}_stream"), seconds),
    ] {
        let mut tee = findable(command("tee"));
        tee.arg(file);
        run(tee, &value.to_string())?;
    }
    Ok(())
}

/// Whether this system can translate; else it is said why not, past the capture of the test's output.
fn can_translate() -> bool {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/in-namespace");
    let inside = |program: &str| {
        let mut command = Command::new(&script);
        command.arg(program);
        command
    };
    let able = translate(inside, "peers");
    if let Err(why) = &able {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: {TEST}: it needs network namespaces, nftables and conntrack: {}",
            why.trim()
        );
    }
    able.is_ok()
}

/// An idle tunnel keeps its way through the router open: after four times as long as that remembers, the worker is the first to
/// send, and is heard; and nothing had to be connected again for it.
#[test]
fn an_idle_tunnel_stays_up_behind_a_nat() {
    if std::env::var_os(crate::inside::INSIDE).is_none() && !can_translate() {
        return;
    }
    run_inside(TEST, async || {
        let router = Machine::new("peers-end", "10.77.0.2");
        ip("link add home type veth peer name homes-end");
        router.plug("home", "192.168.7.1");
        translate(|program| router.command(program), "peers-end").unwrap();
        let client = Machine::new("homes-end", "192.168.7.2");
        client.ip("route add default via 192.168.7.1");
        let mut scene = Scene::of(client, None);
        let mut stream = scene.connect();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut echo = |byte: u8| {
            stream.write_all(&[byte]).unwrap();
            let mut back = [0];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(back, [byte]);
        };
        echo(1);
        sleep(IDLE);
        echo(2);
        for trouble in ["interrupted", "lost"] {
            let events = scene.tunnel.events(trouble);
            assert!(events.is_empty(), "{}", scene.tunnel.story());
        }
        assert_eq!(scene.status()["state"], "connected");
    });
}
