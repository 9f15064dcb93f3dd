//! Gains: the work directory full of memory images, or a host program started as root by `core_pattern`.

use crate::attempt::c;

#[test]
fn a_crash_leaves_no_core_file_and_its_limit_cannot_be_raised() {
    let answer = c(r#"
#include <dirent.h>
int main(void) {
    struct rlimit l = {RLIM_INFINITY, RLIM_INFINITY};
    printf("%d\n", setrlimit(RLIMIT_CORE, &l));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) { raise(SIGSEGV); _exit(1); }
    int status;
    waitpid(child, &status, 0);
    printf("%d\n", WCOREDUMP(status) ? 1 : 0);
    DIR *d = opendir("/box");
    for (struct dirent *e; (e = readdir(d));) if (strstr(e->d_name, "core")) puts("CORE");
    return 0;
}"#);
    assert_eq!(answer.expect_stdout(), "-1\n0\n");
}
