//! What a program prints, told to its room while it runs: a few times a second, bounded.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval_at};

use super::capture::{Capture, whole_chars};
use super::execution::Head;
use super::{RoomObserver, Stream};

/// Bytes of one stream that are told at once; the rest waits for the next time, or for the result.
const AT_ONCE: usize = 8 * 1024;

/// Whom to tell, of what, how often.
pub struct LiveOutput {
    /// Told.
    pub observer: Arc<dyn RoomObserver>,
    /// The execution.
    pub head: Arc<Head>,
    /// Between two tellings.
    pub interval: Duration,
}

impl LiveOutput {
    /// Tells until it is dropped.
    pub async fn tell(&self, stdout: &Capture, stderr: &Capture) {
        let mut ticks = interval_at(tokio::time::Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = [0_usize; 2];
        loop {
            ticks.tick().await;
            for ((capture, stream), offset) in
                [(stdout, Stream::Stdout), (stderr, Stream::Stderr)].into_iter().zip(&mut told)
            {
                let news = capture.look(|captured| {
                    let new = &captured.bytes[*offset..];
                    let new = &new[..new.len().min(AT_ONCE)];
                    new[..whole_chars(new)].to_vec()
                });
                if !news.is_empty() {
                    let text = String::from_utf8_lossy(&news);
                    self.observer.output(&self.head, stream, &text, *offset as u64).await;
                    *offset += news.len();
                }
            }
        }
    }
}
