//! The limits that a language needs other than the service's defaults.

use serde::{Deserialize, Deserializer, de};

use crankcase_sandbox::spec::{CpuQuota, CpuTime, MemoryMax, OutOfBounds, PidsMax, TmpfsInodes, TmpfsSize, WallTime};

/// What a manifest says about limits; whatever it leaves out keeps the service's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ManifestLimits {
    /// Bytes of the work directory.
    #[serde(default, deserialize_with = "bytes")]
    pub box_size: Option<u64>,
    /// Inodes of the work directory.
    #[serde(default)]
    pub box_inodes: Option<u64>,
    /// Bytes of `/tmp` and of `/dev/shm`, each.
    #[serde(default, deserialize_with = "bytes")]
    pub tmp_size: Option<u64>,
    /// The compile stage.
    #[serde(default)]
    pub compile: StageOverrides,
    /// The run stage.
    #[serde(default)]
    pub run: StageOverrides,
}

/// One stage's limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StageOverrides {
    /// Bytes (`"1GiB"`).
    #[serde(default, deserialize_with = "bytes")]
    pub memory: Option<u64>,
    /// Processes and threads alive at once.
    #[serde(default)]
    pub processes: Option<u64>,
    /// Milliseconds of wall time (`"20s"`).
    #[serde(default, rename = "wall", deserialize_with = "millis")]
    pub wall_ms: Option<u64>,
    /// Milliseconds of CPU time (`"20s"`).
    #[serde(default, rename = "cpu", deserialize_with = "millis")]
    pub cpu_ms: Option<u64>,
    /// Thousandths of a core.
    #[serde(default)]
    pub cpu_quota: Option<u64>,
    /// `RLIMIT_NOFILE`.
    #[serde(default)]
    pub open_files: Option<u64>,
    /// Bytes of the largest file.
    #[serde(default, deserialize_with = "bytes")]
    pub file_size: Option<u64>,
    /// Bytes of the main thread's stack.
    #[serde(default, deserialize_with = "bytes")]
    pub stack: Option<u64>,
}

impl ManifestLimits {
    /// Every value outside of the sandbox's bounds, with its key below `limits`.
    pub(crate) fn errors(&self) -> Vec<(String, OutOfBounds)> {
        let mut found = Vec::new();
        let mut check = |key: String, result: Option<OutOfBounds>| found.extend(result.map(|error| (key, error)));
        check("box-size".into(), self.box_size.and_then(|v| TmpfsSize::new(v).err()));
        check("box-inodes".into(), self.box_inodes.and_then(|v| TmpfsInodes::new(v).err()));
        check("tmp-size".into(), self.tmp_size.and_then(|v| TmpfsSize::new(v).err()));
        for (stage, limits) in [("compile", &self.compile), ("run", &self.run)] {
            check(format!("{stage}.memory"), limits.memory.and_then(|v| MemoryMax::new(v).err()));
            check(format!("{stage}.processes"), limits.processes.and_then(|v| PidsMax::new(v).err()));
            check(format!("{stage}.wall"), limits.wall_ms.and_then(|v| WallTime::new(v).err()));
            check(format!("{stage}.cpu"), limits.cpu_ms.and_then(|v| CpuTime::new(v).err()));
            check(format!("{stage}.cpu-quota"), limits.cpu_quota.and_then(|v| CpuQuota::new(v).err()));
        }
        found
    }
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse::<bytesize::ByteSize>()
        .map(|size| Some(size.as_u64()))
        .map_err(|_| de::Error::custom(format!("{text:?} is no size such as \"256MiB\"")))
}

fn millis<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text)
        .ok()
        .and_then(|duration| u64::try_from(duration.as_millis()).ok())
        .map(Some)
        .ok_or_else(|| de::Error::custom(format!("{text:?} is no duration such as \"5s\" or \"500ms\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        let limits: ManifestLimits = toml::from_str(
            "box-size = \"64MiB\"\n[compile]\nmemory = \"1GiB\"\nwall = \"20s\"\n[run]\nprocesses = 128\ncpu = \"500ms\"",
        )
        .unwrap();
        assert_eq!(limits.box_size, Some(64 << 20));
        assert_eq!(limits.compile.memory, Some(1 << 30));
        assert_eq!(limits.compile.wall_ms, Some(20_000));
        assert_eq!(limits.run, StageOverrides { processes: Some(128), cpu_ms: Some(500), ..Default::default() });
        assert!(limits.errors().is_empty());
    }

    #[test]
    fn nonsense_and_excess_are_refused() {
        assert!(toml::from_str::<ManifestLimits>("box-size = \"many\"").is_err());
        assert!(toml::from_str::<ManifestLimits>("[run]\nwall = \"soon\"").is_err());
        assert!(toml::from_str::<ManifestLimits>("[run]\nram = \"1GiB\"").is_err());
        let limits: ManifestLimits = toml::from_str("tmp-size = \"1B\"\n[run]\nprocesses = 0").unwrap();
        let keys: Vec<String> = limits.errors().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["tmp-size", "run.processes"]);
    }
}
