//! Gains: more descriptors, larger files, a higher place in the scheduler than the limits allow.

use crate::attempt::c;

#[test]
fn limits_cannot_be_raised_and_priorities_neither() {
    let stdout = c(r#"
int main(void) {
    int kinds[] = {RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_CORE, RLIMIT_NICE, RLIMIT_RTPRIO};
    for (int i = 0; i < 5; i++) {
        struct rlimit l;
        getrlimit(kinds[i], &l);
        if (l.rlim_max == RLIM_INFINITY) { printf("UNBOUNDED %d\n", kinds[i]); continue; }
        l.rlim_cur = l.rlim_max = l.rlim_max + 1;
        if (setrlimit(kinds[i], &l) == 0) printf("RAISED %d\n", kinds[i]);
    }
    struct sched_param p = {1};
    if (sched_setscheduler(0, SCHED_FIFO, &p) == 0) puts("REALTIME");
    if (setpriority(PRIO_PROCESS, 0, -5) == 0) puts("NICER");
    puts("done");
    return 0;
}"#)
    .expect_stdout();
    assert_eq!(stdout, "done\n");
}

#[test]
fn open_files_are_bounded() {
    let stdout = c(r#"
int main(void) { int n = 0; while (n < 1000000 && open("/dev/null", O_RDONLY) >= 0) n++; printf("%d\n", n); return 0; }"#)
    .expect_stdout();
    let opened: u32 = stdout.trim().parse().expect("a number");
    assert!((16..100_000).contains(&opened), "{opened}");
}
