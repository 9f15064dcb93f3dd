//! Which version a tool has, by asking it.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, SystemTime};

use crate::direct::Steps;
use crate::runtime::{Runtime, Toolchain};
use crate::template::Values;

/// What a tool finds in its environment.
const ENVIRONMENT: [(&str, &str); 3] =
    [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/nonexistent"), ("LANG", "C.UTF-8")];
/// How long one tool may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many tools are asked at once.
const THREADS: usize = 4;
/// How much of an answer is read, bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// The longest version that is believed, bytes.
const VERSION_BYTES_MAX: usize = 40;

/// What makes an answer the same as last time: the command, and each tool's file.
type Key = (Vec<String>, Vec<(PathBuf, Option<SystemTime>, u64)>);

/// Answers of this process, so that reloading the manifests asks nobody twice.
static KNOWN: Mutex<Option<HashMap<Key, String>>> = Mutex::new(None);

/// Fills in the versions of what is installed; `ask` gets a command and gives its output.
pub(crate) fn detect<'a>(
    runtimes: impl Iterator<Item = &'a Runtime> + Send,
    ask: &(dyn Fn(&[String]) -> Option<String> + Sync),
) {
    let open = runtimes.filter_map(|runtime| Some((runtime, runtime.toolchain.as_ref()?)));
    let queue = Mutex::new(open.filter(|(runtime, _)| runtime.version().is_none()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((runtime, chain)) = next else { return };
                    if let (Some(direct), Some(command)) = (&chain.direct, driver_question(runtime, chain))
                        && let Some(answer) = ask(&command)
                        && let Some(steps) =
                            Steps::read(&answer, &main_file(runtime), &direct.assembler, &direct.linker)
                    {
                        let _ = direct.steps.set(steps);
                    }
                    if let Some(version) = version(chain, ask) {
                        // A thread of another call may have been faster, with the same answer.
                        let _ = runtime.version.set(version);
                    }
                }
            });
        }
    });
}

/// What to execute so that a toolchain tells its version.
pub(crate) fn command(chain: &Toolchain) -> Vec<String> {
    let values = Values { tools: &chain.tools, ..Values::default() };
    chain.version_command.iter().map(|word| word.expand(&values)).collect()
}

fn version(chain: &Toolchain, ask: &(dyn Fn(&[String]) -> Option<String> + Sync)) -> Option<String> {
    let command = command(chain);
    let key = (command.clone(), chain.tools.iter().map(|(_, path)| identity(path)).collect());
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|m| m.get(&key).cloned());
    if known.is_some() {
        return known;
    }
    let version = extract(&ask(&command)?, &chain.version_prefix)?;
    let mut cache = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    cache.get_or_insert_default().insert(key, version.clone());
    Some(version)
}

/// The main file's name where no source decides it.
pub(crate) fn main_file(runtime: &Runtime) -> String {
    runtime.source.file.expand(&Values::default())
}

/// The compile command with `-###`: what the driver would start, in its own words.
fn driver_question(runtime: &Runtime, chain: &Toolchain) -> Option<Vec<String>> {
    let source = main_file(runtime);
    let sources = [source.clone()];
    let values = Values { source: &source, sources: &sources, tools: &chain.tools, ..Values::default() };
    let mut command = Vec::new();
    chain.compile.as_ref()?.command.iter().for_each(|word| word.expand_into(&values, &mut command));
    command.insert(1, "-###".to_owned());
    Some(command)
}

/// A tool's file behind its links, its modification time and size.
pub(crate) fn identity(path: &Path) -> (PathBuf, Option<SystemTime>, u64) {
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let metadata = std::fs::metadata(&target).ok();
    let size = metadata.as_ref().map_or(0, std::fs::Metadata::len);
    (target, metadata.and_then(|m| m.modified().ok()), size)
}

/// The word behind the first `prefix`, up to a blank or a bracket, comma, semicolon or quote.
pub(crate) fn extract(answer: &str, prefix: &str) -> Option<String> {
    let at = answer.find(prefix)? + prefix.len();
    let rest = answer[at..].trim_start();
    let end = rest.find(|c: char| c.is_whitespace() || c.is_control() || "()[],;\"'".contains(c)).unwrap_or(rest.len());
    let word = &rest[..end];
    (!word.is_empty() && word.len() <= VERSION_BYTES_MAX).then(|| word.to_owned())
}

/// A tool of the host's own, about to be started: with an empty stdin, and nothing of our environment.
pub(crate) fn tool(words: &[String]) -> Option<Command> {
    let (program, arguments) = words.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(ENVIRONMENT).current_dir("/").stdin(Stdio::null());
    Some(command)
}

/// Runs a command with an empty stdin and an environment of its own, and gives stdout, then stderr.
pub(crate) fn ask(command: &[String]) -> Option<String> {
    ask_within(command, PATIENCE)
}

pub(crate) fn ask_within(command: &[String], patience: Duration) -> Option<String> {
    let mut child = tool(command)?.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().ok()?;
    let (sender, receiver) = mpsc::channel();
    let (stdout, stderr) = (child.stdout.take()?, child.stderr.take()?);
    // Not joined: a grandchild that keeps the pipe open would keep the reader, and must not keep us.
    std::thread::spawn(move || {
        let mut answer = Vec::new();
        let _ = stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
        answer.push(b'\n');
        let _ = stderr.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
        let _ = sender.send(String::from_utf8_lossy(&answer).into_owned());
    });
    let answer = receiver.recv_timeout(patience).ok();
    let _ = child.kill();
    let _ = child.wait();
    answer
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn versions_are_cut_out_of_real_answers() {
        for (answer, prefix, version) in [
            ("Python 3.11.2\n", "Python ", "3.11.2"),
            ("v20.20.2\n", "v", "20.20.2"),
            ("12.2.0\n", "", "12.2.0"),
            ("openjdk 17.0.15 2025-04-15\nOpenJDK Runtime", "openjdk ", "17.0.15"),
            ("go version go1.19.8 linux/amd64\n", "go version go", "1.19.8"),
            ("GNU bash, version 5.2.15(1)-release (x86_64)", "version ", "5.2.15"),
            ("\nwarning\nrustc 1.63.0 (4b91a6ea7 2022-08-08)", "rustc ", "1.63.0"),
        ] {
            assert_eq!(extract(answer, prefix).as_deref(), Some(version), "{answer}");
        }
        assert_eq!(extract("nothing here", "Python "), None);
        assert_eq!(extract("Python ", "Python "), None);
    }

    #[test]
    fn both_streams_are_read_and_a_silent_tool_is_given_up() {
        let script = |text: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()];
        assert_eq!(ask(&script("echo a; echo b >&2")).as_deref(), Some("a\n\nb\n"));
        assert_eq!(ask(&words("/no/such/tool --version")), None);
        let before = Instant::now();
        assert_eq!(ask_within(&script("exec /bin/sleep 60"), Duration::from_millis(50)), None);
        assert!(before.elapsed() < Duration::from_secs(20));
    }
}
