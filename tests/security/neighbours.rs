//! Gains: another user's program: its memory, its files, a channel to an accomplice.

use crate::attempt::{Background, PYTHON_READY, c, c_program, host, python, shared, two_at_once};

#[test]
fn two_live_sandboxes_have_different_ids_and_namespaces() {
    let _turn = two_at_once();
    let first = Background::start("python", PYTHON_READY);
    let second = Background::start("python", PYTHON_READY);
    for key in ["Uid", "Gid"] {
        assert_ne!(host::status(first.pid(), key), host::status(second.pid(), key), "{key}");
    }
    let own = i32::try_from(std::process::id()).expect("process ids fit");
    for kind in ["mnt", "pid", "net", "ipc", "uts"] {
        let of = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
        assert_ne!(of(first.pid()), of(second.pid()), "{kind} is shared");
        assert_ne!(of(first.pid()), of(own), "{kind} is the host's");
    }
}

#[test]
fn a_neighbour_cannot_be_seen_signalled_or_traced() {
    let _turn = two_at_once();
    let neighbour = Background::start("python", PYTHON_READY);
    let answer = c_program(
        r#"
#include <sys/ptrace.h>
int main(int n, char **a) {
    (void)n;
    int pid = atoi(a[1]);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d", pid);
    printf("%d %d %ld %d\n", kill(pid, 0), kill(pid, SIGKILL), ptrace(PTRACE_ATTACH, pid, 0, 0), access(path, F_OK));
    return 0;
}"#,
    )
    .args(&[&neighbour.pid().to_string()])
    .run();
    assert_eq!(answer.expect_stdout(), "-1 -1 -1 -1\n");
    assert!(neighbour.is_alive());
}

#[test]
fn there_is_no_way_to_talk_to_a_neighbour() {
    let _turn = two_at_once();
    let listener = Background::start(
        "python",
        r"
import ctypes, os, socket, time
libc = ctypes.CDLL(None, use_errno=True)
a = socket.socket(socket.AF_UNIX); a.bind('\0crankcase-neighbour'); a.listen()
b = socket.socket(socket.AF_UNIX); b.bind('/tmp/neighbour'); b.listen()
for place in ('/tmp', '/dev/shm', '/box'):
    open(place + '/message', 'w').write('from a neighbour')
    os.chmod(place + '/message', 0o666)
c = socket.socket()
try: c.bind(('127.0.0.1', 45454)); c.listen()
except OSError: pass
shm = libc.shmget(0x43524e4b, 4096, 0o1666)
sem = libc.semget(0x43524e4b, 1, 0o1666)
msg = libc.msgget(0x43524e4b, 0o1666)
libc.prctl(15, b'NAME', 0, 0, 0)
time.sleep(60)
",
    );
    let stdout = python(
        r"
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
for family, address in ((socket.AF_UNIX, '\0crankcase-neighbour'), (socket.AF_UNIX, '/tmp/neighbour'), (socket.AF_INET, ('127.0.0.1', 45454))):
    try:
        s = socket.socket(family); s.settimeout(1); s.connect(address)
        print('CONNECTED', address)
    except OSError:
        pass
for place in ('/tmp', '/dev/shm', '/box'):
    if os.path.exists(place + '/message'):
        print('READ', place)
for name, call in (('shm', lambda: libc.shmget(0x43524e4b, 4096, 0)), ('sem', lambda: libc.semget(0x43524e4b, 1, 0)), ('msg', lambda: libc.msgget(0x43524e4b, 0))):
    if call() != -1:
        print('ATTACHED', name)
try:
    if 'crankcase-neighbour' in open('/proc/net/unix').read():
        print('LISTED')
except OSError:
    pass
print('done')
",
    )
    .expect_stdout();
    assert_eq!(stdout, "done\n");
    assert!(listener.is_alive());
}

#[test]
fn nothing_is_left_for_the_next_program() {
    let leave = "
import os
for place in ('/box', '/tmp', '/dev/shm'):
    open(place + '/left', 'w').write('left behind')
print('left')
";
    assert_eq!(python(leave).expect_stdout(), "left\n");
    // More runs than there are prepared places, so that whatever is used again is seen again.
    for _ in 0..12 {
        let stdout = shared()
            .run("python", "import os\nprint([p for p in ('/box', '/tmp', '/dev/shm') if os.path.exists(p + '/left')], os.listdir('/tmp'), os.listdir('/dev/shm'))")
            .expect_stdout();
        assert_eq!(stdout, "[] [] []\n");
    }
}

#[test]
fn file_locks_and_memory_are_not_left_between_compile_and_run() {
    // The run stage shares the work directory and nothing else with the compiler.
    let stdout = c(r#"
int main(void) { int n = 0; char path[32]; for (int p = 1; p < 1000; p++) { snprintf(path, 32, "/proc/%d", p); n += access(path, F_OK) == 0; } printf("%d\n", n <= 3); return 0; }"#)
    .expect_stdout();
    assert_eq!(stdout, "1\n");
}
