//! Session descriptions of others, made safe to hand to the stack.

use std::net::{IpAddr, SocketAddr};

use super::RtcError;

/// The longest description taken, bytes.
const MAX_BYTES: usize = 64 << 10;

/// The most candidates taken from a peer, in its description and trickled together.
pub(super) const MAX_CANDIDATES: usize = 64;

/// A peer's description, with the candidates that we cannot use left out: the stack refuses a whole description
/// for one of them. Returns it with the number of candidates kept.
///
/// # Errors
/// [`RtcError::Description`] when it is too long or offers no data channel.
pub(super) fn tidy(sdp: &str) -> Result<(String, usize), RtcError> {
    if sdp.len() > MAX_BYTES {
        return Err(RtcError::Description(format!(
            "longer than {MAX_BYTES} bytes"
        )));
    }
    if !sdp.lines().any(|line| line.starts_with("m=application ")) {
        return Err(RtcError::Description("it offers no data channel".into()));
    }
    let mut candidates = 0;
    let mut tidied = String::with_capacity(sdp.len() + 16);
    for line in sdp.lines() {
        if let Some(candidate) = line.strip_prefix("a=candidate:") {
            if candidates == MAX_CANDIDATES || !usable(candidate) {
                continue;
            }
            candidates += 1;
        }
        tidied.push_str(line.trim_end());
        tidied.push_str("\r\n");
    }
    Ok((tidied, candidates))
}

/// Whether a candidate is UDP with a literal address: no TCP (there is no listener, and the stack would dial), no
/// mDNS name (there is no resolver; such a peer is still found by its own checks).
pub(super) fn usable(candidate: &str) -> bool {
    let candidate = candidate.strip_prefix("candidate:").unwrap_or(candidate);
    let mut fields = candidate.split_ascii_whitespace().skip(2);
    let udp = fields
        .next()
        .is_some_and(|transport| transport.eq_ignore_ascii_case("udp"));
    let address = fields
        .nth(1)
        .and_then(|address| address.parse::<IpAddr>().ok());
    udp && address.is_some_and(|address| !address.is_unspecified())
}

/// What says that the sender takes candidates after the description (RFC 8840).
const TRICKLE: &str = "trickle";

/// Whether the sender of a description takes candidates later.
pub(super) fn takes_trickle(sdp: &str) -> bool {
    sdp.lines()
        .filter_map(|line| line.strip_prefix("a=ice-options:"))
        .any(|options| options.split_whitespace().any(|option| option == TRICKLE))
}

/// The address of a candidate that is a relay's.
pub(super) fn relay_of(candidate: &str) -> Option<SocketAddr> {
    let candidate = candidate.strip_prefix("candidate:").unwrap_or(candidate);
    let fields: Vec<_> = candidate.split_ascii_whitespace().take(8).collect();
    let [_, _, _, _, ip, port, "typ", "relay"] = fields[..] else {
        return None;
    };
    Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
}

/// The relays in a description.
pub(super) fn relays(sdp: &str) -> impl Iterator<Item = SocketAddr> {
    sdp.lines()
        .filter_map(|line| relay_of(line.strip_prefix("a=candidate:")?))
}

/// What says that no further candidates follow (RFC 8840).
const END: &str = "a=end-of-candidates";

/// Whether no candidates follow a description, and all that it has are of hosts.
pub(super) fn is_complete(sdp: &str) -> bool {
    let ended = sdp.lines().any(|line| line.trim_end() == END);
    let mut candidates = sdp
        .lines()
        .filter_map(|line| line.strip_prefix("a=candidate:"));
    let is_host = |candidate: &str| {
        let mut fields = candidate.split_ascii_whitespace().skip(6);
        fields.next() == Some("typ") && fields.next() == Some("host")
    };
    (ended || !takes_trickle(sdp)) && candidates.all(is_host)
}

/// The addresses of a description's candidates; those that are no address are passed over, as the stack does.
pub(super) fn addresses(sdp: &str) -> impl Iterator<Item = IpAddr> {
    sdp.lines().filter_map(|line| {
        let candidate = line.strip_prefix("a=candidate:")?;
        candidate.split_ascii_whitespace().nth(4)?.parse().ok()
    })
}

/// Says how much may come at once: the bytes that the sender's sockets take before anything is read. Of Loaner's own; other
/// peers pass over it (RFC 8866, section 5.13), and say nothing of the kind.
const BURST: &str = "a=x-loaner-burst:";

/// How many bytes the sender of a description takes at once, if it says so.
pub(super) fn burst_bytes(sdp: &str) -> Option<u32> {
    sdp.lines()
        .find_map(|line| line.strip_prefix(BURST)?.trim().parse().ok())
}

/// Our own description, to be followed by further candidates.
pub(super) fn trickling(mut sdp: String) -> String {
    if !takes_trickle(&sdp) {
        sdp.push_str(&format!("a=ice-options:{TRICKLE}\r\n"));
    }
    sdp
}

/// Our own description, complete: it says that no further candidates follow even if a server never answered.
pub(super) fn complete(mut sdp: String) -> String {
    if !sdp.contains(END) {
        sdp.push_str(END);
        sdp.push_str("\r\n");
    }
    sdp
}

/// Our own description, with how much our sockets take at once.
pub(super) fn with_burst(mut sdp: String, burst: u32) -> String {
    if burst_bytes(&sdp).is_none() {
        sdp.push_str(&format!("{BURST}{burst}\r\n"));
    }
    sdp
}

/// By what the checks of a side are known: new with each ICE restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) ufrag: String,
    pub(super) pwd: String,
}

/// The credentials in a description.
pub(super) fn credentials(sdp: &str) -> Option<Credentials> {
    let value = |name| {
        let found = sdp.lines().find_map(|line| line.strip_prefix(name));
        found.map(|value: &str| value.trim().to_owned())
    };
    Some(Credentials {
        ufrag: value("a=ice-ufrag:")?,
        pwd: value("a=ice-pwd:")?,
    })
}

/// Says which offer an answer is for, by the user name fragment of the offer. Of Loaner's own: nothing else in an answer tells
/// whether it is for the latest offer or an earlier one.
const ANSWERS: &str = "a=x-loaner-answers:";

/// The user name fragment of the offer that an answer is for, if it says so.
pub(super) fn answers(sdp: &str) -> Option<&str> {
    sdp.lines()
        .find_map(|line| line.strip_prefix(ANSWERS).map(str::trim))
}

/// Our own answer to a restart, for the offer with these credentials.
pub(super) fn answering(mut sdp: String, offer: &Credentials) -> String {
    sdp.push_str(&format!("{ANSWERS}{}\r\n", offer.ufrag));
    sdp
}

/// Our own description with these candidates, by their addresses: the stack writes an offer to restart before it forgets those
/// of before.
pub(super) fn only(sdp: &str, candidates: &[SocketAddr]) -> String {
    let is_kept = |line: &str| {
        line.strip_prefix("a=candidate:").is_none_or(|candidate| {
            let mut fields = candidate.split_ascii_whitespace().skip(4);
            let ip = fields.next().and_then(|ip| ip.parse().ok());
            let port = fields.next().and_then(|port| port.parse().ok());
            let address = ip.zip(port).map(|(ip, port)| SocketAddr::new(ip, port));
            address.is_some_and(|address| candidates.contains(&address))
        })
    };
    sdp.lines()
        .filter(|line| is_kept(line))
        .map(|line| format!("{line}\r\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_literal_udp_candidates_are_usable() {
        for (candidate, expected) in [
            ("1 1 udp 2130706431 192.0.2.1 5000 typ host", true),
            ("candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host", true),
            ("1 1 udp 2130706431 2001:db8::1 5000 typ host", true),
            (
                "1 1 tcp 2130706431 192.0.2.1 9 typ host tcptype passive",
                false,
            ),
            ("1 1 udp 2130706431 0d3e.local 5000 typ host", false),
            ("1 1 udp 2130706431 0.0.0.0 5000 typ host", false),
            ("1 1 udp", false),
            ("", false),
        ] {
            assert_eq!(usable(candidate), expected, "{candidate:?}");
        }
    }

    #[test]
    fn relays_are_known_by_their_type() {
        let relay = "1 1 udp 16777215 192.0.2.7 49160 typ relay raddr 10.0.0.1 rport 5000";
        let expected: SocketAddr = ([192, 0, 2, 7], 49160).into();
        assert_eq!(relay_of(relay), Some(expected));
        assert_eq!(relay_of(&format!("candidate:{relay}")), Some(expected));
        let sdp = format!(
            "v=0\r\na=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\na=candidate:{relay}\r\n"
        );
        assert_eq!(relays(&sdp).collect::<Vec<_>>(), [expected]);
        for other in [
            "", "1 1 udp 1 x 5000 typ relay", "1 1 udp 1 192.0.2.7 99999 typ relay",
        ] {
            assert_eq!(relay_of(other), None, "{other}");
        }
    }

    #[test]
    fn who_trickles_says_so() {
        for (options, expected) in [
            ("a=ice-options:trickle", true),
            ("a=ice-options:ice2 trickle", true),
            ("a=ice-options:trickled", false),
            ("a=mid:trickle", false),
        ] {
            let sdp = format!("v=0\r\nm=application \r\n{options}\r\n");
            assert_eq!(takes_trickle(&sdp), expected, "{options}");
            let ours = trickling(sdp);
            assert!(takes_trickle(&ours));
            assert_eq!(trickling(ours.clone()), ours, "said once");
        }
    }

    #[test]
    fn what_a_peer_takes_at_once_is_said_once_and_read_leniently() {
        let ours = with_burst("v=0\r\na=mid:0\r\n".to_owned(), 70_000);
        assert_eq!(burst_bytes(&ours), Some(70_000));
        assert_eq!(with_burst(ours.clone(), 5), ours);
        for other in [
            "", "a=x-loaner-burst:", "a=x-loaner-burst:-1", "a=x-loaner-burst:9999999999",
        ] {
            assert_eq!(burst_bytes(other), None, "{other}");
        }
    }

    #[test]
    fn an_answer_says_which_offer_it_is_for() {
        let offer = "v=0\r\na=ice-ufrag:ab+/\r\na=ice-pwd: secret \r\n";
        let offered = credentials(offer);
        let expected = Credentials {
            ufrag: "ab+/".to_owned(),
            pwd: "secret".to_owned(),
        };
        assert_eq!(offered, Some(expected.clone()));
        assert_eq!(credentials("a=ice-ufrag:x\r\n"), None);
        assert_eq!(credentials("a=ice-pwd:x\r\n"), None);
        let answer = "v=0\r\na=ice-ufrag:other\r\n";
        assert_eq!(answers(answer), None);
        assert_eq!(
            answers(&answering(answer.to_owned(), &expected)),
            Some("ab+/")
        );
    }

    #[test]
    fn candidates_of_before_are_left_out() {
        let line = |address: &str| format!("a=candidate:1 1 udp 1 {address} typ host\r\n");
        let (old, new) = (line("192.0.2.1 5000"), line("192.0.2.1 5001"));
        let six = line("2001:db8::1 5001");
        let sdp = format!("v=0\r\n{old}{new}{six}a=candidate:nonsense\r\na=mid:0\r\n");
        let now = [
            SocketAddr::from(([192, 0, 2, 1], 5001)),
            SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 5001)),
        ];
        assert_eq!(only(&sdp, &now), format!("v=0\r\n{new}{six}a=mid:0\r\n"));
    }

    #[test]
    fn candidates_are_counted_and_bounded() {
        let mut sdp = String::from("v=0\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\n");
        for port in 1..=MAX_CANDIDATES + 10 {
            sdp.push_str(&format!(
                "a=candidate:1 1 udp 1 192.0.2.1 {port} typ host\n"
            ));
        }
        sdp.push_str("a=end-of-candidates\n");
        let tidied = tidy(&sdp).map(|(text, count)| (text.matches("a=candidate").count(), count));
        assert_eq!(tidied, Ok((MAX_CANDIDATES, MAX_CANDIDATES)));
    }

    #[test]
    fn a_description_without_a_data_channel_or_too_long_is_refused() {
        assert!(matches!(tidy("v=0\r\n"), Err(RtcError::Description(_))));
        assert!(matches!(
            tidy(&"m=application \n".repeat(10_000)),
            Err(RtcError::Description(_))
        ));
    }
}
