//! Java's gate is an agent of the JVM: a jar with classes, which the JVM that it is for makes of the gate's source.

use std::path::Path;
use std::time::Duration;

use crate::{cache, version};

/// The gate's directory.
pub(crate) const GATE: &str = "java";
/// What is compiled, and by itself.
pub(crate) const SOURCE: &str = "Gate.java";
/// What comes of it.
pub(crate) const AGENT: &str = "gate.jar";

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The agent for this JVM, from the cache or compiled; none when that fails.
pub(crate) fn make(java: &Path, source: &[u8]) -> Option<Vec<u8>> {
    let jvm = format!("{:?}", version::identity(java));
    let key = cache::key([source, jvm.as_bytes()]);
    let cached = cache::directory().map(|dir| dir.join(format!("java-agent-{key}.jar")));
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
