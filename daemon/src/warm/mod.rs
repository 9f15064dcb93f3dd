//! What stands ready before anybody asks for it, so that a run pays for none of it.
//!
//! Three kinds: **prepared** sandboxes, empty or with a payload one step before `execve`; **warm** processes, which are
//! interpreters held in their gate; and **templates**, whose forks fill the stock of warm processes and serve runs
//! that find it empty. [`policy`] says how many of each, [`stock`] keeps the book, [`keeper`] makes and destroys.
//!
//! **Invariants.** Whatever is handed to a run is handed out once, and destroyed with the run. A run never fails and never
//! waits because of the pools: what fits is taken, else a sandbox is made for it as if there were none. All that
//! stands ready is accounted for in the admission's memory and gives way to runs.

mod backoff;
mod demand;
mod keeper;
mod languages;
mod member;
pub mod policy;
pub mod shelf;
pub mod stock;
mod template;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crankcase_runtimes::{Registry, WarmStart};
use crankcase_sandbox::outcome::{SandboxError, Step};
use crankcase_sandbox::spec::{SandboxSpec, SourceFile, StageCommand, StageLimits};
use tokio::sync::Notify;

use crate::config::{Config, Reloadable, Runtimes, Stock as Size};
use crate::jobs::admission::Admission;
use crate::metrics::PoolMetrics;
use crate::spawner_client::{Loaded, Sandbox, SpawnerClient, Stdio};
use member::{Forkable, Member};
use shelf::{Key, Load, Setup};
use stock::{Layout, Stock};

/// The language of prepared sandboxes, which serve all.
pub const ANY: &str = "any";
/// For a fork that a run waits for: a template that does not answer must not hold it.
const FORK_WAIT: Duration = Duration::from_secs(2);

/// The handle that everybody shares.
#[derive(Clone)]
pub struct Pools {
    inner: Arc<Inner>,
}

struct Inner {
    spawner: SpawnerClient,
    admission: Admission,
    registry: Arc<Registry>,
    runtimes: Runtimes,
    metrics: PoolMetrics,
    stock: Mutex<Stock<Member, Forkable>>,
    wake: Notify,
}

/// What a run begins with.
#[derive(Debug, Clone, Copy)]
pub struct Want<'a> {
    /// The language's name.
    pub language: &'a str,
    /// The sandbox.
    pub spec: SandboxSpec,
    /// Its files.
    pub files: &'a [SourceFile],
    /// The command of its first stage.
    pub command: &'a StageCommand,
    /// The limits of that stage.
    pub limits: StageLimits,
    /// The warm process that would do in place of its stages.
    pub warm: Option<&'a WarmStart>,
    /// The limits of that process.
    pub warm_limits: StageLimits,
    /// What that process finds beside the files.
    pub warm_files: &'a [SourceFile],
    /// Whether what stands loaded may be taken.
    pub ready: bool,
}

/// A sandbox with the files in it.
pub struct Ready {
    /// The sandbox.
    pub sandbox: Sandbox,
    /// What is loaded in it.
    pub loaded: Loaded,
    /// Whether that is the warm process, not the first stage's command.
    pub warm: bool,
}

/// What a sandbox that stood empty is to hold.
#[derive(Clone, Copy)]
enum Fill<'a> {
    /// The command of the run's first stage, which is let go.
    Command,
    /// A fork of this template, in its gate.
    Fork(&'a Forkable),
}

impl<'a> Want<'a> {
    /// What a warm process finds in the work directory.
    fn all_files(&self) -> Cow<'a, [SourceFile]> {
        match self.warm_files {
            [] => Cow::Borrowed(self.files),
            more => Cow::Owned([self.files, more].concat()),
        }
    }
}

impl Pools {
    /// Empty pools; [`Pools::keep`] fills them.
    #[must_use]
    pub fn new(
        config: &Config,
        registry: Arc<Registry>,
        spawner: SpawnerClient,
        admission: Admission,
        metrics: PoolMetrics,
    ) -> Self {
        let runtimes = config.runtimes.clone();
        let layout = layout(&config.reloadable, &registry, &runtimes, &admission);
        let stock = Mutex::new(Stock::new(layout, Instant::now()));
        let wake = Notify::new();
        Self { inner: Arc::new(Inner { spawner, admission, registry, runtimes, metrics, stock, wake }) }
    }

    /// Takes over what SIGHUP may change: what was made for other limits is destroyed.
    pub fn reload(&self, reloadable: &Reloadable) {
        let inner = &self.inner;
        let layout = layout(reloadable, &inner.registry, &inner.runtimes, &inner.admission);
        let stale = self.lock().set_up(layout, Instant::now());
        drop(stale);
        inner.wake.notify_one();
    }

    /// A sandbox for a run, with its files in it, and as much of its first stage as stands ready.
    ///
    /// # Errors
    /// [`Step::WriteFile`] when the files do not fit; else only when a sandbox could not be made for it alone either.
    pub async fn begin(&self, want: Want<'_>) -> Result<Ready, SandboxError> {
        let ready = match self.warm(&want).await? {
            Some(ready) => ready,
            None => match self.loaded(&want).await? {
                Some(ready) => ready,
                None => {
                    let (sandbox, stdio) = self.filled(&want, want.files, Fill::Command).await?;
                    Ready { sandbox, loaded: Loaded::Started(stdio), warm: false }
                }
            },
        };
        self.inner.wake.notify_one();
        Ok(ready)
    }

    async fn warm(&self, want: &Want<'_>) -> Result<Option<Ready>, SandboxError> {
        let Some(start) = want.warm else { return Ok(None) };
        let warm = self.lock().warm();
        let setup = languages::warm(&warm, want.language, start, want.spec, want.warm_limits, false);
        if setup.setting.size == Size::Off {
            return Ok(None);
        }
        let metrics = &self.inner.metrics;
        let files = want.all_files();
        if let Some(ready) = self.stocked(want.language, "warm", &files, &setup.key, || Some(setup.clone())).await? {
            return Ok(Some(ready));
        }
        metrics.missed(want.language, "warm");
        let template = setup.setting.fork.then(|| self.lock().template(&start.command, Instant::now())).flatten();
        let Some(template) = template else { return Ok(None) };
        let forked = self.filled(want, &files, Fill::Fork(&template));
        match tokio::time::timeout(FORK_WAIT, forked).await {
            Ok(Ok((sandbox, stdio))) => {
                metrics.forked(want.language);
                metrics.hit(want.language, "fork");
                Ok(Some(Ready { sandbox, loaded: Loaded::Waiting(stdio), warm: true }))
            }
            Ok(Err(error)) if error.step == Step::WriteFile => Err(error),
            failed => {
                metrics.failed(want.language, "fork");
                if !matches!(failed, Ok(Err(error)) if error.step != Step::Template) {
                    self.lock().template_lost(&template);
                }
                Ok(None)
            }
        }
    }

    async fn loaded(&self, want: &Want<'_>) -> Result<Option<Ready>, SandboxError> {
        // What has a warm process is not worth another stock.
        if want.warm.is_some() || !want.ready || self.lock().warm().prepared == Size::Off {
            return Ok(None);
        }
        let load = Load { command: want.command.clone(), limits: want.limits, gate: false };
        let key = Key { spec: want.spec, load: Some(load) };
        let setup = || Some(languages::loaded(want.language, key.clone()));
        self.stocked(want.language, "loaded", want.files, &key, setup).await
    }

    /// An empty sandbox, prepared or made now, with the files in it and what it is to hold. All is asked for in one go, with one
    /// wait; a prepared one that was killed meanwhile is passed over.
    async fn filled(
        &self,
        want: &Want<'_>,
        files: &[SourceFile],
        fill: Fill<'_>,
    ) -> Result<(Sandbox, Stdio), SandboxError> {
        loop {
            let prepared = self.prepared(want);
            let stood = prepared.is_some();
            let mut sandbox = match prepared {
                Some(sandbox) => sandbox,
                None => self.inner.spawner.create(want.spec).await?,
            };
            let filled = async {
                sandbox.write(files).await?;
                match fill {
                    Fill::Command => sandbox.load_and_start(want.command.clone(), want.limits).await,
                    Fill::Fork(forkable) => sandbox.fork_from(&*forkable.template.read().await, want.warm_limits).await,
                }
            };
            match filled.await {
                Ok(stdio) => {
                    if stood {
                        self.inner.metrics.hit(want.language, "prepared");
                    }
                    return Ok((sandbox, stdio));
                }
                Err(error) if stood && !matches!(error.step, Step::WriteFile | Step::Template) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn prepared(&self, want: &Want<'_>) -> Option<Sandbox> {
        let mut stock = self.lock();
        let warm = stock.warm();
        if warm.prepared == Size::Off {
            return None;
        }
        let setup = languages::prepared(&warm, want.spec, false);
        let member = stock.take(&setup.key, Instant::now(), || Some(setup.clone()));
        drop(stock);
        if member.is_none() {
            self.inner.metrics.missed(want.language, "prepared");
        }
        member.map(|member| member.into_parts().0)
    }

    /// The first member of a key, with the files. Nobody waits for that here: whoever lets it go learns of its death, and comes
    /// back.
    async fn stocked(
        &self,
        language: &str,
        kind: &'static str,
        files: &[SourceFile],
        key: &Key,
        setup: impl Fn() -> Option<Setup>,
    ) -> Result<Option<Ready>, SandboxError> {
        loop {
            let member = self.lock().take(key, Instant::now(), &setup);
            let Some((mut sandbox, stdio)) = member.map(Member::into_parts) else { return Ok(None) };
            match (sandbox.write_and_tell(files, self.hit(language, kind)).await, stdio) {
                (Ok(()), Some(stdio)) => {
                    let warm = key.load.as_ref().is_some_and(|load| load.gate);
                    return Ok(Some(Ready { sandbox, loaded: Loaded::Waiting(stdio), warm }));
                }
                (Err(error), _) if error.step == Step::WriteFile => return Err(error),
                // Its spawner is lost.
                _ => {}
            }
        }
    }

    /// Counts a hit when it is called.
    fn hit(&self, language: &str, kind: &'static str) -> impl FnOnce() + Send + Sync + 'static + use<> {
        let (metrics, language) = (self.inner.metrics.clone(), language.to_owned());
        move || metrics.hit(&language, kind)
    }

    /// A sentence when something fails again and again.
    #[must_use]
    pub fn health(&self) -> Option<String> {
        let failing = self.lock().failing();
        (!failing.is_empty()).then(|| {
            format!(
                "Programs are started plainly, because making them ready ahead of need fails: {}.",
                failing.join(", ")
            )
        })
    }

    /// How many stand ready and how many should, without templates.
    #[must_use]
    pub fn figure(&self) -> (u32, u32) {
        let levels = self.lock().levels(Instant::now());
        let members = || levels.iter().filter(|level| level.kind != "template");
        (members().map(|level| level.ready).sum(), members().map(|level| level.target).sum())
    }

    fn publish(&self) {
        let levels = self.lock().levels(Instant::now());
        self.inner.metrics.set(&levels);
    }

    /// Every change under the lock is complete in itself.
    fn lock(&self) -> MutexGuard<'_, Stock<Member, Forkable>> {
        self.inner.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn layout(reloadable: &Reloadable, registry: &Registry, runtimes: &Runtimes, admission: &Admission) -> Layout {
    let memory = admission.budget().memory_bytes;
    languages::layout(&Arc::new(reloadable.warm.clone()), &reloadable.limits, registry, runtimes, memory)
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").finish_non_exhaustive()
    }
}
