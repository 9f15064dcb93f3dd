//! Gains: command lines and environments of the host's processes and of other people's programs.

use crate::attempt::{host, python};

#[test]
fn only_the_sandboxes_own_processes_are_listed() {
    let stdout = python(
        "
import os
pids = sorted(int(name) for name in os.listdir('/proc') if name.isdigit())
print(len(pids), os.getpid(), max(pids))
print([pid for pid in range(1, 100000) if os.path.exists(f'/proc/{pid}/stat')] == pids)
",
    )
    .expect_stdout();
    let mut words = stdout.split_whitespace().map(str::to_owned);
    let mut number = || words.next().and_then(|word| word.parse::<usize>().ok()).expect("a number");
    let (count, own, largest) = (number(), number(), number());
    assert!(count <= 3 && own < 100 && largest < 100, "{stdout}");
    assert!(stdout.ends_with("True\n"), "nothing is merely hidden from the listing: {stdout}");
    assert!(host::processes().len() > 10, "the host has more");
}

#[test]
fn the_kernels_own_files_cannot_be_written_or_tell_of_the_host() {
    let stdout = python(
        "
import os
for path in ('/proc/sys/kernel/core_pattern', '/proc/sys/vm/drop_caches', '/proc/sysrq-trigger', '/proc/sys/kernel/hostname',
             '/proc/sys/fs/binfmt_misc/register', '/proc/self/oom_score_adj', '/proc/sys/kernel/modprobe', '/proc/timer_list'):
    try:
        fd = os.open(path, os.O_WRONLY)
        if path.endswith('oom_score_adj'):
            os.write(fd, b'-1000')
        print('WRITABLE', path)
    except OSError:
        pass
for path in ('/proc/kcore', '/proc/kmsg', '/proc/kallsyms', '/proc/keys', '/proc/sched_debug', '/dev/mem', '/dev/kmsg'):
    try:
        data = open(path, 'rb').read(65536)
        if data.strip() and not (path == '/proc/kallsyms' and all(line.startswith(b'0000000000000000') for line in data.splitlines()[:50])):
            print('READABLE', path, len(data))
    except OSError:
        pass
print('done')
",
    )
    .expect_stdout();
    assert_eq!(stdout, "done\n");
}
