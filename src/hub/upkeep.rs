//! What a hub does by itself, for as long as it runs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;

use super::core::Core;
use super::table::Now;
use super::tls::Certificate;

/// Time between two looks for what is due in the mailboxes.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between two looks for rooms that have expired, and for a new certificate.
const SWEEP: u32 = 5;

/// All of it.
pub(super) async fn all(core: Arc<Core>, certificate: Option<Arc<Certificate>>) {
    join(tick(&core, certificate), fetch_keys(&core)).await;
}

/// Does what is due.
async fn tick(core: &Core, certificate: Option<Arc<Certificate>>) {
    for count in 1.. {
        tokio::time::sleep(TICK).await;
        core.engine.tick();
        if count % SWEEP == 0 {
            core.table().sweep(Now::read());
            if let Some(certificate) = &certificate {
                certificate.renew();
            }
        }
    }
}

/// Fetches the issuer's keys, so that the first who comes with a token need not wait for them.
async fn fetch_keys(core: &Core) {
    while !core.verifier.prefetch().await {
        tokio::time::sleep(TICK).await;
    }
}
