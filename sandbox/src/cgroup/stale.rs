//! What a spawner that was killed left behind: instance directories whose lock nobody holds.

use std::path::Path;

use super::dir::Dir;

/// Names of instance directories: `i<number>`.
pub fn instance_name(instance: u32) -> String {
    format!("i{instance}")
}

fn is_instance(name: &str) -> bool {
    name.strip_prefix('i').is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Kills and removes every dead instance below `base`. Only names that we make, only below our own base.
pub fn remove_dead_instances(base: &Dir) {
    for name in subdirectories(base.path()).into_iter().filter(|name| is_instance(name)) {
        let Ok(instance) = Dir::open(&base.path().join(&name)) else { continue };
        let Ok(_lock) = instance.lock() else { continue };
        remove_tree(&instance);
        let _ = base.remove_child(&name);
    }
}

/// Kills what is in `dir` and below it and removes all that is below it. Deepest first.
pub fn remove_tree(dir: &Dir) {
    for name in subdirectories(dir.path()) {
        let Ok(child) = Dir::open(&dir.path().join(&name)) else { continue };
        remove_tree(&child);
        for _ in 0..200 {
            child.kill_each(20);
            if dir.remove_child(&name).is_ok() {
                break;
            }
            // Its last processes are being taken down by the kernel.
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

fn subdirectories(path: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_count_as_instances() {
        assert!(is_instance(&instance_name(u32::MAX)));
        for name in ["i", "ix1", "user.slice", "1", "init.scope"] {
            assert!(!is_instance(name), "{name}");
        }
    }

    #[test]
    fn a_live_instance_stays_and_a_dead_one_goes() {
        let temp = tempfile::tempdir().unwrap();
        let base = Dir::open(temp.path()).unwrap();
        let live = base.child("i1").unwrap();
        let _lock = live.lock().unwrap();
        base.child("i2").unwrap().child("jobs").unwrap().child("s7").unwrap();
        base.child("other").unwrap();
        remove_dead_instances(&base);
        assert_eq!(
            {
                let mut left = subdirectories(temp.path());
                left.sort();
                left
            },
            ["i1".to_owned(), "other".to_owned()]
        );
    }
}
