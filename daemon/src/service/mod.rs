//! The daemon put together: what stands on what, in which order it starts and in which it stops.
//!
//! Start: spawner connected, history open, locks, admission, jobs, rooms, interface, listener served. Stop, the other way
//! round: nothing more is accepted, what runs ends within the deadline, rooms are saved, the history is closed.

pub mod logging;
pub mod spawner;
pub mod watchdog;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ConnectInfo;
use crankcase_runtimes::Registry;
use serde_json::json;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::health::Health;
use crate::api::server::{self, Limits};
use crate::api::settings::Settings;
use crate::api::{ApiState, ClientAddress, Parts as ApiParts};
use crate::config::{Config, Environment};
use crate::history::{Durability, History, HistoryError, Options};
use crate::jobs::admission::Admission;
use crate::jobs::admission::memory::Machine;
use crate::jobs::artefacts::Artefacts;
use crate::jobs::claims::Claims;
use crate::jobs::lock::RoomLocks;
use crate::jobs::{Jobs, Parts};
use crate::metrics::Metrics;
use crate::redis_link::BadRedisUrl;
use crate::rooms::Rooms;
use crate::rooms::bus::Bus;
use crate::rooms::limits::RoomLimits;
use crate::rooms::registry::RoomRegistry;
use crate::spawner_client::SpawnerClient;
use crate::warm::Pools;

/// How long the spawner may take to be there at start.
const SPAWNER_WAIT: Duration = Duration::from_secs(120);
/// Between two looks at figures that nobody pushes.
const GAUGE_INTERVAL: Duration = Duration::from_secs(2);
const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);
/// What the names of shared rooms begin with in Redis; the locks' names are the contract's.
const REDIS_PREFIX: &str = "crankcase:";

/// The service could not start.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// Isolation is missing or the spawner is not there.
    #[error("the spawner cannot be reached: {0}")]
    Spawner(crankcase_sandbox::outcome::SandboxError),
    /// Sandboxes cannot be made, or do not work.
    #[error(transparent)]
    Probe(#[from] watchdog::ProbeError),
    /// The database.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Redis.
    #[error("redis.url: {0}")]
    Redis(#[from] BadRedisUrl),
    /// The listener or signals.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What `serve` brings along.
pub struct Service {
    /// Checked.
    pub config: Config,
    /// The file it came from, for reloading.
    pub config_file: Option<PathBuf>,
    /// The languages.
    pub registry: Registry,
    /// The spawner's socket.
    pub spawner_socket: PathBuf,
    /// Bound before privileges were given up.
    pub listener: std::net::TcpListener,
}

impl Service {
    /// Serves until SIGTERM or SIGINT, then stops in good order.
    ///
    /// # Errors
    /// [`ServiceError`] when it cannot start.
    pub async fn run(self) -> Result<(), ServiceError> {
        let started_at = Instant::now();
        let mut config = self.config;
        let registry = Arc::new(self.registry);
        let stop = CancellationToken::new();

        let spawner = SpawnerClient::start(self.spawner_socket, CancellationToken::new());
        let welcome = spawner.ready(SPAWNER_WAIT).await.map_err(ServiceError::Spawner)?;
        watchdog::at_start(&spawner).await?;
        let history = open_history(&config)?;
        let redis = config.redis.clone();
        let redis = redis.as_ref().map(|redis| redis.url.expose());
        let (locks, claims) = match redis {
            None => (RoomLocks::in_memory(), Claims::default()),
            Some(url) => tokio::try_join!(RoomLocks::in_redis(url), Claims::in_redis(url))?,
        };
        let machine = Machine::detect().with_sandboxes(welcome.memory_cgroup.clone());
        let ceiling = machine.budget(&spawner::admission(&config)).memory_bytes;
        if config.reloadable.limits.cap_memory(ceiling) {
            warn!(mebibytes = ceiling >> 20, "memory limits are lowered to what all executions may have on this host");
        }
        let config = Arc::new(config);
        let admission = Admission::new(spawner::admission(&config), machine);
        let names: Vec<&str> = registry.iter().map(|runtime| runtime.name.as_str()).collect();
        let metrics = Metrics::new(names, admission.clone());
        let pools = Pools::new(&config, Arc::clone(&registry), spawner.clone(), admission.clone(), metrics.pools());
        let jobs = Jobs::new(Parts {
            config: Arc::clone(&config),
            registry: Arc::clone(&registry),
            pools: pools.clone(),
            history: history.clone(),
            locks: locks.clone(),
            claims,
            admission: admission.clone(),
            artefacts: artefacts(&config, &metrics),
            metrics: metrics.clone(),
        });

        let (room_limits, room_store) = (RoomLimits::from_config(&config), Arc::new(history.clone()));
        let rooms = match redis {
            None => Rooms::new(room_limits, room_store),
            Some(url) => Rooms::in_redis(room_limits, room_store, url, REDIS_PREFIX).await?,
        };
        jobs.observe(rooms.announcer.clone());
        let health = health(&spawner, &history, &locks, &rooms.bus, &pools, &admission);

        self.listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(self.listener)?;
        let address = listener.local_addr()?;
        let api = ApiState::new(ApiParts {
            settings: Settings::new(&config, address.port()),
            runner: Arc::new(jobs.clone()),
            batches: Arc::new(jobs.clone()),
            history: history.clone(),
            languages: crate::api::languages::list(Arc::clone(&config), Arc::clone(&registry)),
            rooms: rooms.diagnostics.clone(),
            health,
            metrics: {
                let metrics = metrics.clone();
                Arc::new(move || metrics.render())
            },
            refused: {
                let metrics = metrics.clone();
                Arc::new(move |refusal| metrics.refused(refusal))
            },
            started_at,
        });
        let (socket_layer, sockets) = rooms.sockets(Arc::new(jobs.clone()), peer_address);
        let router = crate::api::router_with(Arc::clone(&api), |router| router.layer(socket_layer));

        tokio::spawn({
            let (admission, stop) = (admission.clone(), stop.clone());
            async move { stop.run_until_cancelled(admission.watch()).await }
        });
        let keeper = tokio::spawn(pools.keep(stop.clone()));
        let saver = tokio::spawn(Arc::clone(&rooms.registry).maintain(stop.clone()));
        tokio::spawn(prune(history.clone(), stop.clone()));
        tokio::spawn(watchdog::watch(spawner.clone(), stop.clone()));
        tokio::spawn(gauges(
            metrics,
            spawner,
            history.clone(),
            Arc::clone(&api),
            Arc::clone(&rooms.registry),
            sockets.clone(),
            stop.clone(),
        ));
        tokio::spawn(reload(
            self.config_file,
            Arc::clone(&config),
            ceiling,
            jobs.clone(),
            admission.clone(),
            Arc::clone(&api),
            Arc::clone(&rooms.registry),
        ));
        std::thread::spawn(move || registry.detect_versions());

        info!(%address, version = env!("CARGO_PKG_VERSION"), "listening on {address}");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        let accepting = CancellationToken::new();
        let limits = Limits {
            connections: config.server.max_connections,
            header_timeout: config.server.header_timeout,
            idle_timeout: config.server.idle_timeout,
            write_timeout: config.server.write_timeout,
            shutdown_deadline: config.server.shutdown_deadline + Duration::from_secs(4),
            ..Limits::default()
        };
        let serving = tokio::spawn(server::serve(listener, router, accepting.clone(), limits));

        let signal = termination().await?;
        info!(signal, "stopping");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        accepting.cancel();
        jobs.drain(config.server.shutdown_deadline).await;
        sockets.close().await;
        let _ = serving.await;
        rooms.bus.leave().await;
        stop.cancel();
        let _ = saver.await;
        let _ = keeper.await;
        history.close().await;
        info!("stopped");
        Ok(())
    }
}

fn artefacts(config: &Config, metrics: &Metrics) -> Artefacts {
    match config.runtimes.artefact_cache {
        None => Artefacts::off(),
        Some(bytes_max) => {
            let directory = config.data_dir.join("artefacts");
            Artefacts::open(&directory, bytes_max, config.runtimes.artefact_scope, metrics.clone())
        }
    }
}

fn open_history(config: &Config) -> Result<History, HistoryError> {
    let never = Duration::from_secs(200 * 365 * 24 * 3600);
    let options = Options {
        durability: if config.history.survives_power_loss { Durability::PowerLoss } else { Durability::ProcessCrash },
        keep_executions: config.history.retention.unwrap_or(never),
        keep_messages: config.history.retention.unwrap_or(never),
        keep_rooms: config.history.room_retention.unwrap_or(never),
        max_bytes: config.history.max_size,
        ..Options::default()
    };
    History::open(&config.history.path, options)
}

fn health(
    spawner: &SpawnerClient,
    history: &History,
    locks: &RoomLocks,
    bus: &Arc<dyn Bus>,
    pools: &Pools,
    admission: &Admission,
) -> Health {
    let (spawner, history, locks, bus) = (spawner.clone(), history.clone(), locks.clone(), Arc::clone(bus));
    let (pools, figures) = (pools.clone(), pools.clone());
    let (memory, queue) = (admission.clone(), admission.clone());
    Health::default()
        .vital("spawner", move || {
            spawner.welcome().is_none().then(|| "The sandbox service is not connected.".to_owned())
        })
        .vital("history", move || {
            history.health().map(|fault| format!("The history cannot be written: {}.", fault.error))
        })
        .degrading("redis", move || locks.health())
        .degrading("rooms", move || bus.health())
        .degrading("memory", move || {
            let held_back = "The host is short of memory: executions are held back.";
            memory.is_short_of_memory().then(|| held_back.to_owned())
        })
        .degrading("queue", move || {
            let full = "As many executions wait as may: further ones are refused.";
            queue.is_full().then(|| full.to_owned())
        })
        .degrading("pools", move || pools.health())
        .figure("pools", move || {
            let (ready, target) = figures.figure();
            json!({ "ready": ready, "target": target })
        })
}

/// Where the request that opened a socket came from, proxies seen through where they are trusted.
fn peer_address(parts: &http::request::Parts) -> Option<IpAddr> {
    let identified = parts.extensions.get::<ClientAddress>().map(|address| address.0);
    identified.or_else(|| parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip()))
}

async fn prune(history: History, stop: CancellationToken) {
    let mut hourly = tokio::time::interval(PRUNE_INTERVAL);
    while stop.run_until_cancelled(hourly.tick()).await.is_some() {
        match history.prune_once(crate::history::Timestamp::now()).await {
            Ok(pruned) => info!(?pruned, "history pruned"),
            Err(error) => warn!(%error, "the history is not pruned"),
        }
    }
}

async fn gauges(
    metrics: Metrics,
    spawner: SpawnerClient,
    history: History,
    api: Arc<ApiState>,
    rooms: Arc<RoomRegistry>,
    sockets: socketioxide::SocketIo,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(GAUGE_INTERVAL);
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let levels = metrics.levels();
        levels.history_queue.set(number(history.pending_writes()));
        levels.rooms.set(number(rooms.len()));
        levels.sockets.set(number(sockets.sockets().len()));
        levels.sandboxes.set(number(spawner.sandboxes()));
        levels.degraded.set(i64::from(api.is_degraded()));
    }
}

/// SIGHUP: limits, admission, quotas and rate limit anew; a file that is wrong changes nothing.
async fn reload(
    file: Option<PathBuf>,
    running: Arc<Config>,
    ceiling: u64,
    jobs: Jobs,
    admission: Admission,
    api: Arc<ApiState>,
    rooms: Arc<RoomRegistry>,
) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else { return };
    while hangups.recv().await.is_some() {
        match Config::load(file.as_deref(), &Environment::of_process()) {
            Ok(mut config) => {
                config.reloadable.limits.cap_memory(ceiling);
                let restart = running.needs_restart(&config);
                let mut anew = spawner::admission(&config);
                anew.memory_reserve_bytes = running.sandbox.memory_reserve;
                // The cgroup above all sandboxes was given so much at the start.
                if admission.budget_by(&anew).memory_bytes > ceiling {
                    anew.memory_bytes = Some(ceiling);
                    warn!("admission.memory above what the service was started with takes effect at the next start");
                }
                admission.reconfigure(anew);
                api.reload(&config.reloadable);
                rooms.limits().texts.reload(&config.reloadable.limits);
                jobs.reload(config.reloadable);
                info!("configuration reloaded");
                if !restart.is_empty() {
                    warn!(sections = restart.join(", "), "these changes take effect at the next start");
                }
            }
            Err(errors) => warn!(%errors, "the configuration is wrong; nothing was changed"),
        }
    }
}

async fn termination() -> std::io::Result<&'static str> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    })
}
