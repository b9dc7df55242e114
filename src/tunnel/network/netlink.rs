//! Linux's messages about the network.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket,
};
use tokio::net::UnixDatagram;

/// Of what we want to hear: links, addresses, routes, and the rules that choose among tables of routes.
const GROUPS: i32 = libc::RTMGRP_LINK
    | libc::RTMGRP_IPV4_IFADDR
    | libc::RTMGRP_IPV6_IFADDR
    | libc::RTMGRP_IPV4_ROUTE
    | libc::RTMGRP_IPV6_ROUTE
    | libc::RTMGRP_IPV4_RULE
    | IPV6_RULE;

/// RTNLGRP_IPV6_RULE, which has no mask of its own in the headers.
const IPV6_RULE: i32 = 1 << 18;

/// A socket that hears of changes. It needs no privilege.
///
/// The runtime waits for datagrams alike whatever their family is; this type is the one of its own that takes a
/// descriptor without `unsafe`.
#[derive(Debug)]
pub(super) struct Netlink(UnixDatagram);

impl Netlink {
    /// Opens it, for the tokio runtime that this is called in.
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkRoute,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS as u32))?;
        Netlink::over(socket)
    }

    /// One that hears from any socket that does not block.
    pub(super) fn over(socket: OwnedFd) -> io::Result<Self> {
        UnixDatagram::from_std(socket.into()).map(Netlink)
    }

    /// Waits for a message. What it says is not looked at, so one that was lost because the socket's buffer was full
    /// (ENOBUFS) is as good as any other. May be dropped and called again: nothing is lost.
    pub(super) async fn message(&self) -> io::Result<()> {
        match self.0.recv(&mut [0; 16]).await {
            Err(error) if error.raw_os_error() != Some(Errno::ENOBUFS as i32) => Err(error),
            _ => Ok(()),
        }
    }
}
