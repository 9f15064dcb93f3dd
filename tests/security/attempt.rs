//! What the attempts share: how a program makes its try, and how the answer is read from outside.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

pub use crankcase_tests::{Answer, Program, attempts, eventually, host, shared, unique};
use nix::errno::Errno;

/// Headers and names that most C programs here need.
pub const C_PRELUDE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
"#;

/// The answers by which a call counts as refused.
const REFUSALS: [Errno; 4] = [Errno::EPERM, Errno::ENOSYS, Errno::EACCES, Errno::EAFNOSUPPORT];

/// Runs a C program.
#[track_caller]
pub fn c(code: &str) -> Answer {
    c_program(code).run()
}

/// Prepares a C program.
pub fn c_program(code: &str) -> Program<'static> {
    shared().program("c", &format!("{C_PRELUDE}{code}"))
}

/// Runs a Python program.
#[track_caller]
pub fn python(code: &str) -> Answer {
    shared().run("python", code)
}

/// Runs a C program that makes these calls, each a C expression with the C library's convention (-1 and
/// `errno`), and expects each to be refused by the filter or the kernel's permission checks. An `EINVAL` or an
/// `EFAULT` is no refusal: the call got through.
#[track_caller]
pub fn expect_refused(calls: &[&str]) {
    expect_refused_with("", calls);
}

/// [`expect_refused`] with further declarations in front.
#[track_caller]
pub fn expect_refused_with(declarations: &str, calls: &[&str]) {
    let body: String = calls
        .iter()
        .map(|call| format!("errno = 0; r = (long)({call}); printf(\"%ld %d\\n\", r, errno); fflush(stdout);\n"))
        .collect();
    let answer = c(&format!("{declarations}\nint main(void) {{ long r;\n{body}return 0; }}"));
    let stdout = answer.expect_stdout();
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), calls.len(), "one line a call: {stdout}");
    for (call, line) in calls.iter().zip(lines) {
        let (result, errno) = line.split_once(' ').expect("result and errno");
        let errno = Errno::from_raw(errno.parse().expect("errno is a number"));
        assert!(result == "-1" && REFUSALS.contains(&errno), "{call} was not refused: {result}, {errno}");
    }
}

/// A program that runs until it is ended, seen from the host.
pub struct Background {
    thread: Option<std::thread::JoinHandle<Answer>>,
    pid: i32,
}

impl Background {
    /// Starts a C or Python program that gives itself the name `NAME` (`PR_SET_NAME`; the text is replaced by
    /// a unique name) once it is ready, and then stays.
    #[track_caller]
    pub fn start(language: &str, code: &str) -> Self {
        let name = unique("t")[..12].to_owned();
        let code = code.replace("NAME", &name);
        let code = if language == "c" { format!("{C_PRELUDE}{code}") } else { code };
        let program = shared().program(language, &code);
        let thread = std::thread::spawn(move || program.run());
        let pid = eventually(Duration::from_secs(60), || {
            assert!(!thread.is_finished(), "the program ended before it was ready; see the other thread's message");
            host::processes_named(&name).first().copied().ok_or("not ready")
        });
        Self { thread: Some(thread), pid }
    }

    /// Its process id on the host.
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        host::is_alive(self.pid)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            host::end(self.pid);
            let _ = thread.join();
        }
    }
}

/// Python that calls itself `NAME` and stays.
pub const PYTHON_READY: &str = "
import ctypes, time
ctypes.CDLL(None).prctl(15, b'NAME', 0, 0, 0)
time.sleep(60)
";

/// Attempts that need two live sandboxes take turns, so that they never wait for each other's place.
pub fn two_at_once() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Says that the host is as it was: it can still start processes, and the next program runs.
#[track_caller]
pub fn expect_unharmed() {
    let status = std::process::Command::new("true").status().expect("the host still forks");
    assert!(status.success());
    assert_eq!(python("print('unharmed')").expect_stdout(), "unharmed\n");
}
