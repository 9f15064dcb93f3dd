//! The task that keeps the pools: it makes what is missing, and destroys what is too much, too old or dead.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crankcase_sandbox::outcome::{SandboxError, Step};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::member::{Forkable, Member};
use super::stock::{Order, Situation};
use super::{ANY, Pools};

/// Members that are made at the same time: more would only get in each other's way.
const AT_ONCE: usize = 2;
/// From a run's taking a member to the making of the next: what a short program needs, so that it is not in its way.
const SETTLE: Duration = Duration::from_millis(10);
/// Between two looks at who is still alive.
const LOOK: Duration = Duration::from_secs(1);
/// The part of all sandboxes that may stand ready; the rest is for runs.
const SANDBOX_SHARE: u32 = 4;

impl Pools {
    /// Keeps the pools until `stop`, and empties them then.
    pub async fn keep(self, stop: CancellationToken) {
        let mut pressure = self.inner.admission.pressure();
        let mut spawner = self.inner.spawner.clone();
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut making = JoinSet::new();
        let (mut settling, mut settled) = (false, pin!(tokio::time::sleep(Duration::ZERO)));
        loop {
            let look = tokio::select! {
                () = stop.cancelled() => break,
                _ = looks.tick() => true,
                () = spawner.changed() => true,
                () = self.inner.wake.notified() => {
                    if !settling && making.is_empty() {
                        settling = true;
                        settled.as_mut().reset(tokio::time::Instant::now() + SETTLE);
                    }
                    continue;
                }
                () = &mut settled, if settling => {
                    settling = false;
                    false
                }
                Some(_) = making.join_next() => false,
                Ok(()) = pressure.changed() => false,
            };
            let now = *pressure.borrow_and_update();
            if now.shrink_bytes > 0 {
                self.shrink(now.shrink_bytes);
            }
            let sandboxes = self.inner.spawner.welcome().map(|welcome| welcome.sandboxes_max / SANDBOX_SHARE);
            let situation = Situation { runs_wait: now.runs_wait, sandboxes: sandboxes.unwrap_or(0) };
            self.sweep(situation, look);
            while sandboxes.is_some() && !settling && making.len() < AT_ONCE {
                let Some(order) = self.order(situation) else { break };
                making.spawn(order);
            }
            self.publish();
        }
        making.shutdown().await;
        self.shrink(u64::MAX);
        self.publish();
    }

    fn shrink(&self, bytes: u64) {
        let given_back = self.lock().shrink(bytes, Instant::now());
        debug!(bytes, members = given_back.0.len(), templates = given_back.1.len(), "memory is given back");
    }

    fn sweep(&self, situation: Situation, look: bool) {
        let surplus = self.lock().sweep(
            Instant::now(),
            situation,
            |member: &mut Member| look && member.is_dead(),
            |template: &Forkable| look && template.is_gone(),
        );
        // Not under the lock: dropping them sends frames and gives memory back.
        drop(surplus);
    }

    /// The next thing to make, with its memory set aside.
    fn order(&self, situation: Situation) -> Option<impl Future<Output = ()> + Send + use<>> {
        let now = Instant::now();
        let mut stock = self.lock();
        let order = stock.next(now, situation)?;
        let bytes = match &order {
            Order::Member { bytes, .. } => *bytes,
            Order::Template { blueprint, .. } => blueprint.bytes,
        };
        let Some(memory) = self.inner.admission.reserve_idle(bytes) else {
            stock.gave_up(&order, now);
            return None;
        };
        drop(stock);
        let pools = self.clone();
        Some(async move {
            let spawner = &pools.inner.spawner;
            match order {
                Order::Member { shelf, key, template, bytes } => {
                    let language = pools.lock().language(shelf).unwrap_or_else(|| ANY.into());
                    let kind = key.kind().name();
                    let made = Member::make(spawner, key, template.as_deref(), memory).await;
                    match &made {
                        Ok(_) if template.is_some() => pools.inner.metrics.forked(&language),
                        Ok(_) | Err(SandboxError { step: Step::Spawner, .. }) => {}
                        Err(_) => pools.inner.metrics.failed(&language, kind),
                    }
                    if let (Err(SandboxError { step: Step::Template, .. }), Some(template)) = (&made, &template) {
                        pools.lock().template_lost(template);
                    }
                    let unwanted = pools.lock().made(shelf, bytes, made, Instant::now());
                    drop(unwanted);
                }
                Order::Template { slot, blueprint } => {
                    let language = Arc::clone(&blueprint.language);
                    let made = Forkable::make(spawner, blueprint, memory).await;
                    if matches!(&made, Err(error) if error.step != Step::Spawner) {
                        pools.inner.metrics.failed(&language, "template");
                    }
                    let replaced = pools.lock().template_made(slot, made, Instant::now());
                    drop(replaced);
                }
            }
        })
    }
}
