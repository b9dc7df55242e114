//! A way to the hub on which a client does not learn which words of Loaner's own the worker speaks, so that it speaks those
//! of sleap-rtc.

use anyhow::{Context as _, Result};
use loaner::wire::own::PROPERTY;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A relay before a hub, gone with all that it relays when this is dropped.
pub struct Foreign {
    pub url: String,
    task: JoinHandle<()>,
}

impl Foreign {
    /// Starts one before the hub at this address.
    pub async fn start(hub: &str) -> Result<Foreign> {
        let hub = hub.trim_end_matches('/').strip_prefix("http://");
        let hub = hub.context("a hub of another kind")?.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let task = tokio::spawn(async move {
            // Those that are there end with this task.
            let mut relays = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while relays.try_join_next().is_some() {}
                let hub = hub.clone();
                // One ends with its connection, and whoever needs it sees that.
                relays.spawn(async move { relay(client, &hub).await.ok() });
            }
        });
        Ok(Foreign { url, task })
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(client: TcpStream, hub: &str) -> std::io::Result<()> {
    let (mut from_client, to_client) = client.into_split();
    let (from_hub, mut to_hub) = TcpStream::connect(hub).await?.into_split();
    tokio::select! {
        done = copy(&mut from_client, &mut to_hub) => done.map(drop),
        done = hide(from_hub, to_client) => done,
    }
}

/// Passes on what the hub says, with another word of the same length in the place of the property's name: a hub's frames
/// are not masked.
async fn hide(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
    let (name, mut kept) = (PROPERTY.as_bytes(), Vec::new());
    while from.read_buf(&mut kept).await? > 0 {
        while let Some(at) = kept.windows(name.len()).position(|part| part == name) {
            kept[at..at + name.len()].fill(b'x');
        }
        // The rest of the name may come later.
        let begun = (1..name.len())
            .rev()
            .find(|some| kept.ends_with(&name[..*some]));
        let ready = kept.len() - begun.unwrap_or(0);
        to.write_all(&kept[..ready]).await?;
        kept.drain(..ready);
    }
    to.write_all(&kept).await
}
