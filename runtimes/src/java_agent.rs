//! Java's gate is an agent of the JVM: a jar with classes, which the JVM that it is for makes of the gate's source.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::version;

/// The gate's directory.
pub(crate) const GATE: &str = "java";
/// What is compiled, and by itself.
pub(crate) const SOURCE: &str = "Gate.java";
/// What comes of it.
pub(crate) const AGENT: &str = "gate.jar";

/// Where agents are kept between starts of the service: by the service alone, which must be able to trust them.
const CACHE: &str = "/var/cache/crankcase";
/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The agent for this JVM, from the cache or compiled; none when that fails.
pub(crate) fn make(java: &Path, source: &[u8]) -> Option<Vec<u8>> {
    let cached = cache().map(|dir| dir.join(format!("java-agent-{:016x}.jar", key(java, source))));
    if let Some(agent) = cached.as_ref().and_then(|path| std::fs::read(path).ok()) {
        return Some(agent);
    }
    let agent = compile(java, source)?;
    if let Some(path) = cached {
        // Moved into place whole; a start without a cache only takes longer.
        let new = path.with_extension(std::process::id().to_string());
        let _ = std::fs::write(&new, &agent).and_then(|()| std::fs::rename(&new, &path));
    }
    Some(agent)
}

fn compile(java: &Path, source: &[u8]) -> Option<Vec<u8>> {
    let dir = tempfile::tempdir().ok()?;
    let (input, output) = (dir.path().join(SOURCE), dir.path().join(AGENT));
    std::fs::write(&input, source).ok()?;
    let words = [java, Path::new("-XX:+UseSerialGC"), Path::new("-XX:TieredStopAtLevel=1"), &input, &input, &output];
    version::ask_within(&words.map(|word| word.to_string_lossy().into_owned()), PATIENCE)?;
    std::fs::read(output).ok()
}

/// What the agent depends on: its source and the JVM (FNV-1a, which is the same in every build).
fn key(java: &Path, source: &[u8]) -> u64 {
    let jvm = format!("{:?}", version::identity(java));
    let bytes = source.iter().chain(jvm.as_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The cache, if it is ours and nobody else can write there.
fn cache() -> Option<PathBuf> {
    let dir = PathBuf::from(CACHE);
    let _ = std::fs::DirBuilder::new().mode(0o700).create(&dir);
    let metadata = std::fs::symlink_metadata(&dir).ok()?;
    let ours = std::fs::metadata("/proc/self").ok()?.uid() == metadata.uid();
    (metadata.is_dir() && ours && metadata.mode() & 0o022 == 0).then_some(dir)
}
