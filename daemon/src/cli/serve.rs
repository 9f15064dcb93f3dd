//! `crankcase serve`: HTTP and Socket.IO, once the host is found fit.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use crankcase::config::{Config, Environment};
use crankcase::privilege::{Account, become_account};
use crankcase::service::{Service, logging, spawner};
use crankcase::spawner_client::embedded::{Embedded, SpawnerArguments};
use crankcase_runtimes::Registry;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, chown, geteuid};

use super::{ConfigOption, doctor, precompile};

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub config: ConfigOption,
}

pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let (config, registry) = options.config.load_with_runtimes()?;
    logging::init(&config.log);
    if let Some(refusal) = doctor::refusal(&doctor::required(&config)) {
        anyhow::bail!("{refusal}");
    }
    let config_file = options.config.path(&Environment::of_process());
    raise_open_files();
    // A low port and the spawner want root; both come before the last line that does.
    let listener = TcpListener::bind(config.server.listen)
        .with_context(|| format!("server.listen: cannot listen on {}", config.server.listen))?;
    let (_embedded, spawner_socket) = prepare_host(&config, config_file.as_deref(), &registry)?;
    let service = Service { config, config_file, registry, spawner_socket, listener };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(workers()).enable_all().build().context("starting threads")?;
    runtime.block_on(service.run())?;
    // Blocking work that is still under way belongs to nobody any more.
    runtime.shutdown_timeout(std::time::Duration::from_millis(100));
    Ok(ExitCode::SUCCESS)
}

/// Threads that serve requests: half the cores. Programs need the cores, of which the daemon takes a tenth; and threads that
/// wake each other for every message cost more than they gain.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

/// Connections, pipes and sockets are descriptors: as many as the host grants.
fn raise_open_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// As root: makes the data directory, starts the spawner and gives root up. The spawner lives as long as the first value.
fn prepare_host(
    config: &Config,
    config_file: Option<&Path>,
    registry: &Registry,
) -> anyhow::Result<(Option<Embedded>, PathBuf)> {
    let root = geteuid().is_root();
    let account = if root { Some(Account::find(config.server.user.as_deref())?) } else { None };
    data_directory(&config.data_dir, account)?;
    let (embedded, socket) = match &config.sandbox.spawner_socket {
        Some(socket) => (None, socket.clone()),
        None => {
            let account = account.context("without sandbox.spawner-socket the daemon must be started as root")?;
            let arguments = spawner::arguments(config, registry);
            let gates = registry.gate_files();
            let embedded = Embedded::start(&SpawnerArguments { client: (account.uid, account.gid), arguments, gates })?;
            let socket = embedded.socket.clone();
            if config.runtimes.precompiled_headers && config.sandbox.root.is_none() {
                precompile::start(config_file);
            }
            (Some(embedded), socket)
        }
    };
    if let Some(account) = account {
        become_account(account)?;
    }
    Ok((embedded, socket))
}

/// Made if missing; its owner is the account that writes into it.
fn data_directory(path: &Path, account: Option<Account>) -> anyhow::Result<()> {
    let context = || format!("data-dir: cannot make {}", path.display());
    std::fs::create_dir_all(path).with_context(context)?;
    if let Some(account) = account {
        chown(path, Some(Uid::from_raw(account.uid)), Some(Gid::from_raw(account.gid))).with_context(context)?;
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).with_context(context)?;
    }
    Ok(())
}
