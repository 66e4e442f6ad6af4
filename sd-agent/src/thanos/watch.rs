//! The task: asks Thanos from time to time what it serves, and tells it.
//!
//! Nothing here can end the agent or hold it up, and nothing of it counts for the file: what Thanos does with an endpoint
//! is told and no more.

use std::{fs::File, io::Read, path::PathBuf, sync::Arc, time::Duration};

use http::Uri;
use tokio::time::{Instant, sleep};

use super::{
    in_file,
    page::{self, PageError},
    served::Served,
    stores::Scan,
    unreached::Unreached,
};
use crate::{
    board::Board,
    log::{Grumble, chain},
    metrics::label,
    report::ThanosReport,
};

/// The largest file that is read; the agent itself writes none that is larger.
const LARGEST_FILE: u64 = 32 * 1024 * 1024;

/// Looks in a row that fail before it is said: Thanos starts after the agent.
const PATIENCE: u32 = 6;

/// After a look at this much there is a pause of [`StoresWatch::tick`]; after one at more a longer one. Reading a megabyte
/// takes some milliseconds, so this keeps the work below a millisecond a second.
const BYTES_PER_TICK: usize = 512 * 1024;

/// Watches what one Thanos serves.
#[derive(Debug)]
pub struct StoresWatch {
    /// Where Thanos lists its stores.
    pub url: Uri,
    /// The file that it reads.
    pub file: PathBuf,
    /// How often it is asked.
    pub tick: Duration,
    /// Where it is told.
    pub board: Arc<Board>,
}

/// Why it is not known what Thanos serves.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Page(#[from] PageError),
    #[error("the answer is no list of stores")]
    NotStores,
}

// === impl StoresWatch ===

impl StoresWatch {
    /// Runs for ever.
    pub async fn run(self) {
        let (mut failed, mut grumble) = (0_u32, Grumble::default());
        let mut unreached = Unreached::default();
        loop {
            let begun = Instant::now();
            let (report, bytes) = match self.look(&mut unreached).await {
                Ok((report, bytes)) => {
                    failed = 0;
                    if grumble.clear() {
                        tracing::info!("Thanos' stores can be read");
                    }
                    (report, bytes)
                }
                Err(error) => {
                    let why = chain(&error);
                    failed = failed.saturating_add(1);
                    if failed >= PATIENCE && grumble.is_news(&why) {
                        tracing::warn!(url = %self.url, why, "cannot read which stores Thanos has");
                    }
                    (ThanosReport { error: Some(why), ..ThanosReport::default() }, 0)
                }
            };
            self.tell(report);
            let pause = self.tick.mul_f64((bytes as f64 / BYTES_PER_TICK as f64).max(1.0));
            sleep(pause.saturating_sub(begun.elapsed()).max(self.tick / 2)).await;
        }
    }

    async fn look(&self, unreached: &mut Unreached) -> Result<(ThanosReport, usize), LookError> {
        let text = self.text();
        // Without a file nothing is wanted, and what Thanos has is told all the same.
        let mut served = Served::new(in_file::plain(&text).unwrap_or_default());
        let own = text.len();
        drop(text);
        let mut scan = Scan::new(|store: super::stores::Store<'_>| served.lists(store));
        let bytes = page::read(&self.url, |bytes| scan.feed(bytes)).await?;
        if !scan.finish() {
            return Err(LookError::NotStores);
        }
        let unreachable = unreached.look(served.unreached());
        Ok((ThanosReport { unreachable, ..served.report() }, bytes + own))
    }

    fn text(&self) -> String {
        let mut text = String::new();
        match File::open(&self.file).and_then(|file| file.take(LARGEST_FILE).read_to_string(&mut text)) {
            Ok(_) => text,
            Err(_) => String::new(),
        }
    }

    fn tell(&self, report: ThanosReport) {
        let metrics = &self.board.metrics;
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.thanos_up.set(i64::from(report.error.is_none()));
        metrics.thanos_missing.set(number(report.missing));
        for (state, count) in [("healthy", report.healthy), ("unhealthy", report.unhealthy)] {
            metrics.thanos_stores.get_or_create(&label("state", state)).set(number(count));
        }
        self.board.update(|all| all.thanos = Some(report));
    }
}
