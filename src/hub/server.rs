//! The server: listeners, threads, and what is done with a request.
//!
//! HTTP requests go to an `actix-web` application. A WebSocket is taken off the HTTP server once its handshake is read, so
//! that an idle one holds none of its buffers.
//!
//! Each HTTP connection is for one request: the time for a request's head counts for the first of a connection only, so
//! that a peer could dribble the second one for ever.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_http::h1::H1Service;
use actix_http::{HttpService, KeepAlive};
use actix_server::Server;
use actix_service::{fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::{App, web};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};

use super::core::Core;
use super::{handshake, http};

/// Connections that the system holds for a listener until they are accepted.
const BACKLOG: i32 = 4096;

/// Binds one address.
pub(super) fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A hub that is restarted gets its port back although old connections linger.
    socket.set_reuse_address(true)?;
    // Accepted connections have it from here: a small frame does not wait until the one before it was acknowledged.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Starts to serve on the listeners, with TLS where it is given.
pub(super) fn serve(
    core: &Arc<Core>,
    listeners: Vec<TcpListener>,
    tls: Option<ServerConfig>,
) -> io::Result<Server> {
    let limits = &core.config.limits;
    let mut server = Server::build()
        .workers(limits.threads)
        .max_concurrent_connections(limits.connections_per_thread)
        .disable_signals();
    for listener in listeners {
        let core = Arc::clone(core);
        // The two kinds of listener have services of different types, and differ in nothing else.
        macro_rules! listen {
            ($builder:expr, $finish:expr) => {
                server.listen("hub", listener, move || {
                    let app = App::new()
                        .app_data(web::Data::from(Arc::clone(&core)))
                        .default_service(web::to(http::entry));
                    let upgrades = Arc::clone(&core);
                    let service = $builder
                        .keep_alive(KeepAlive::Disabled)
                        .client_request_timeout(core.config.limits.request_time)
                        .upgrade(fn_service(move |(request, framed)| {
                            handshake::open(request, framed, Arc::clone(&upgrades))
                        }))
                        .h1(map_config(app, |()| AppConfig::default()));
                    $finish(service)
                })?
            };
        }
        server = match tls.clone() {
            None => listen!(HttpService::build(), H1Service::tcp),
            Some(tls) => listen!(HttpService::build().secure(), |service: H1Service<
                _,
                _,
                _,
                _,
                _,
            >| service
                .rustls_0_23(tls.clone())),
        };
    }
    Ok(server.run())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Each small frame leaves at once.
    #[test]
    fn frames_of_the_hub_do_not_wait_for_each_other() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let _peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(listener.accept().unwrap().0.nodelay().unwrap());
    }
}
