//! From the configuration and the languages to what should stand ready.

use std::sync::Arc;

use crankcase_runtimes::{Registry, WarmStart};
use crankcase_sandbox::spec::{SandboxSpec, StageLimits, TemplateSpec};

use super::ANY;
use super::shelf::{Key, Load, Setup};
use super::stock::Layout;
use super::template::Blueprint;
use crate::config::{LimitSet, Limits, Runtimes, Stock, Warm, WarmLanguage};

const MIB: u64 = 1 << 20;
/// Bytes of a sandbox with nothing but its init in it, the kernel's share included.
const SANDBOX: u64 = MIB;
/// Bytes of a payload one step before `execve`, which shares nearly all of its pages with init.
const LOADED: u64 = MIB / 2;
/// A fork shares most pages with its template: it holds this part of what a start of its own would, and at least 512 KiB.
const FORK_SHARE: u64 = 8;
/// The share of all memory for runs that idle things may have under `auto`, and its bounds.
const BUDGET_SHARE: u64 = 16;
const BUDGET_MIN: u64 = 32 * MIB;
const BUDGET_MAX: u64 = 1024 * MIB;

/// What should stand ready where all runs together may have `memory` bytes.
#[must_use]
pub fn layout(warm: &Arc<Warm>, limits: &Limits, registry: &Registry, runtimes: &Runtimes, memory: u64) -> Layout {
    let bytes = warm.memory.unwrap_or_else(|| (memory / BUDGET_SHARE).clamp(BUDGET_MIN, BUDGET_MAX));
    let mut shelves = vec![prepared(warm, limits.general.sandbox, true)];
    let mut templates = Vec::new();
    for runtime in registry.iter().filter(|runtime| runtime.installed() && runtimes.offers(&runtime.name)) {
        let resolved = limits.of_language(&runtime.name, &LimitSet::from(&runtime.limits));
        if shelves.iter().all(|setup| setup.key.spec != resolved.sandbox) {
            shelves.push(prepared(warm, resolved.sandbox, false));
        }
        let Some(start) = runtime.warm(resolved.run.memory.get(), resolved.compile.memory.get()) else { continue };
        let setup = self::warm(warm, &runtime.name, &start, resolved.sandbox, resolved.of_warm(&start), true);
        let setting = setup.setting;
        if setting.size == Stock::Off {
            continue;
        }
        if setting.fork {
            templates.push(Blueprint {
                language: Arc::clone(&setup.language),
                spec: TemplateSpec {
                    sandbox: resolved.sandbox,
                    limits: resolved.of_warm(&start),
                    command: start.command,
                    example: runtime.example(),
                },
                bytes: setup.started_bytes,
            });
        }
        shelves.push(setup);
    }
    Layout { warm: Arc::clone(warm), bytes, shelves, templates }
}

/// A shelf of interpreters in their gates.
pub fn warm(
    warm: &Warm,
    language: &str,
    start: &WarmStart,
    spec: SandboxSpec,
    limits: StageLimits,
    standing: bool,
) -> Setup {
    let setting = warm.of(language);
    Setup {
        language: language.into(),
        key: Key { spec, load: Some(Load { command: start.command.clone(), limits, gate: true }) },
        setting: WarmLanguage { fork: setting.fork && start.fork, ..setting },
        started_bytes: SANDBOX + start.idle_memory,
        forked_bytes: SANDBOX + (start.idle_memory / FORK_SHARE).max(MIB / 2),
        standing,
    }
}

/// A shelf of empty sandboxes.
pub fn prepared(warm: &Warm, spec: SandboxSpec, standing: bool) -> Setup {
    let setting = WarmLanguage { size: warm.prepared, fork: false, max: None };
    let key = Key { spec, load: None };
    Setup { language: ANY.into(), key, setting, started_bytes: SANDBOX, forked_bytes: SANDBOX, standing }
}

/// A shelf of payloads one step before `execve`; for what a request asked for.
pub fn loaded(language: &str, key: Key) -> Setup {
    let setting = WarmLanguage { size: Stock::Auto, fork: false, max: None };
    let bytes = SANDBOX + LOADED;
    Setup { language: language.into(), key, setting, started_bytes: bytes, forked_bytes: bytes, standing: false }
}

#[cfg(test)]
mod tests {
    use super::super::policy::Kind;
    use super::*;
    use crate::config::{Config, Environment};

    fn lay(text: &str, memory: u64) -> Layout {
        let config = Config::parse(text, &Environment::default()).unwrap();
        let registry = Registry::load(&[]).unwrap();
        let reloadable = &config.reloadable;
        layout(&Arc::new(reloadable.warm.clone()), &reloadable.limits, &registry, &config.runtimes, memory)
    }

    fn warm_languages(layout: &Layout) -> Vec<&str> {
        let warm = layout.shelves.iter().filter(|setup| setup.key.kind() == Kind::Warm);
        warm.map(|setup| &*setup.language).collect()
    }

    #[test]
    fn the_budget_follows_the_machine() {
        assert_eq!(lay("", 100 * MIB).bytes, 32 * MIB);
        assert_eq!(lay("", 3072 * MIB).bytes, 192 * MIB);
        assert_eq!(lay("", 1 << 40).bytes, 1024 * MIB);
        assert_eq!(lay("warm.memory = \"7MiB\"", 1 << 40).bytes, 7 * MIB);
    }

    #[test]
    fn a_language_has_a_shelf_and_a_template_unless_it_is_off() {
        let all = lay("", 4096 * MIB);
        assert!(warm_languages(&all).contains(&"python"), "{:?}", warm_languages(&all));
        assert!(all.templates.iter().any(|template| &*template.language == "python"));
        let off = lay("warm.python = \"off\"", 4096 * MIB);
        assert!(!warm_languages(&off).contains(&"python"));
        assert!(off.templates.iter().all(|template| &*template.language != "python"));
        let unforked = lay("warm.python.fork = false", 4096 * MIB);
        assert!(warm_languages(&unforked).contains(&"python"));
        assert!(unforked.templates.iter().all(|template| &*template.language != "python"));
        assert_eq!(warm_languages(&lay("warm.size = \"off\"\nwarm.python = 1", 1)), ["python"]);
        assert!(warm_languages(&lay("runtimes.enabled = [\"c\"]", 1)).is_empty());
    }

    #[test]
    fn each_size_of_sandbox_has_its_prepared_ones_and_only_the_general_one_stands_from_the_start() {
        let layout = lay("limits.c.box-size = \"1GiB\"\nlimits.cpp.box-size = \"1GiB\"", 1);
        let prepared = layout.shelves.iter().filter(|setup| setup.key.kind() == Kind::Prepared);
        assert_eq!(prepared.filter(|setup| setup.standing).count(), 1);
        let large = |setup: &&Setup| setup.key.spec.box_size.get() == 1 << 30 && setup.key.load.is_none();
        assert_eq!(layout.shelves.iter().filter(large).count(), 1);
    }
}
