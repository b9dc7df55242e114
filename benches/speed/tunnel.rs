//! TCP through a tunnel, beside a direct connection to the same program.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::lab::Lab;
use crate::report::{Figure, Reach};
use crate::say;

/// What one stream carries for its speed.
const BYTES: usize = 512 << 20;
/// How often that is measured.
const ROUNDS: usize = 3;
/// How often 32 bytes go there and back.
const TRIPS: usize = 2000;
const PIECE: usize = 64 << 10;

/// The figures.
pub async fn measure(short: bool, dir: &Path) -> Result<Vec<Figure>> {
    let bytes = if short { BYTES / 8 } else { BYTES };
    say("TCP through a tunnel");
    let target = TcpListener::bind("127.0.0.1:0").await?;
    let remote = target.local_addr()?.port();
    let serving = tokio::spawn(serve(target));
    let policy = dir.join("policy.toml");
    std::fs::write(
        &policy,
        format!("[[tunnel]]\nto = [\"localhost:{remote}\"]\n"),
    )?;
    let lab = Lab::with_policy(dir, &policy).await?;
    let mut tunnel = lab.tunnel(&format!("0:{remote}"))?;
    let (_, listening) = tunnel.event("listening").await?;
    let port = listening["port"].as_u64().context("no port")?;
    let port = u16::try_from(port)?;
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        up.push(sent(port, bytes).await?);
        down.push(received(port, bytes).await?);
    }
    let trips = round_trips(port).await?;
    let (direct_up, direct_trips) = (sent(remote, bytes).await?, round_trips(remote).await?);
    drop(tunnel);
    lab.end().await;
    serving.abort();
    Ok(vec![
        Figure::median(
            "tunnel, one stream, to the worker",
            "MB/s",
            Reach::AtLeast(150.0),
            up,
        ),
        Figure::median(
            "tunnel, one stream, from the worker",
            "MB/s",
            Reach::AtLeast(150.0),
            down,
        ),
        Figure::median(
            "  a direct connection",
            "MB/s",
            Reach::Nothing,
            vec![direct_up],
        ),
        Figure::median(
            "tunnel, 32 bytes there and back",
            "ms",
            Reach::AtMost(0.3),
            trips,
        ),
        Figure::median("  a direct connection", "ms", Reach::Nothing, direct_trips),
    ])
}

/// A program that does what the first byte of a connection says: takes everything and says so, sends as much as it is
/// told, or answers each 32 bytes.
async fn serve(target: TcpListener) {
    while let Ok((mut tcp, _)) = target.accept().await {
        tokio::spawn(async move {
            tcp.set_nodelay(true)?;
            let mut piece = vec![0; PIECE];
            match tcp.read_u8().await? {
                b's' => {
                    while tcp.read(&mut piece).await? > 0 {}
                    tcp.write_all(b".").await?;
                }
                b'r' => {
                    let mut left = usize::try_from(tcp.read_u64().await?).unwrap_or(0);
                    while left > 0 {
                        let bytes = left.min(PIECE);
                        tcp.write_all(&piece[..bytes]).await?;
                        left -= bytes;
                    }
                }
                _ => loop {
                    tcp.read_exact(&mut piece[..32]).await?;
                    tcp.write_all(&piece[..32]).await?;
                },
            }
            std::io::Result::Ok(())
        });
    }
}

async fn connect(port: u16, what: u8) -> Result<TcpStream> {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    tcp.set_nodelay(true)?;
    tcp.write_all(&[what]).await?;
    Ok(tcp)
}

fn speed(bytes: usize, began: Instant) -> f64 {
    bytes as f64 / 1e6 / began.elapsed().as_secs_f64()
}

/// MB/s until the program there has everything.
async fn sent(port: u16, bytes: usize) -> Result<f64> {
    let mut tcp = connect(port, b's').await?;
    let piece = vec![0; PIECE];
    let began = Instant::now();
    for _ in 0..bytes / PIECE {
        tcp.write_all(&piece).await?;
    }
    tcp.shutdown().await?;
    tcp.read_u8().await?;
    Ok(speed(bytes, began))
}

/// MB/s of what the program there sends.
async fn received(port: u16, bytes: usize) -> Result<f64> {
    let mut tcp = connect(port, b'r').await?;
    let (mut piece, mut got) = (vec![0; PIECE], 0);
    let began = Instant::now();
    tcp.write_u64(bytes as u64).await?;
    loop {
        match tcp.read(&mut piece).await? {
            0 => break,
            more => got += more,
        }
    }
    ensure!(got == bytes, "{got} bytes came");
    Ok(speed(bytes, began))
}

/// Milliseconds for 32 bytes there and back, one after the other.
async fn round_trips(port: u16) -> Result<Vec<f64>> {
    let mut tcp = connect(port, b'e').await?;
    let mut piece = [7; 32];
    let mut trips = Vec::with_capacity(TRIPS);
    for _ in 0..TRIPS {
        let began = Instant::now();
        tcp.write_all(&piece).await?;
        tcp.read_exact(&mut piece).await?;
        trips.push(began.elapsed().as_secs_f64() * 1e3);
    }
    // The first few find everything cold.
    Ok(trips.split_off(TRIPS / 10))
}
