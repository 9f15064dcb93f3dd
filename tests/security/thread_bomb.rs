//! Gains: the same as a fork bomb, where a limit counts processes but not threads.

use crate::attempt::{c, expect_unharmed};

#[test]
fn a_thread_bomb_ends_by_the_process_limit() {
    c(r"
#include <pthread.h>
static void *stay(void *x) { pause(); return x; }
int main(void) {
    pthread_attr_t a;
    pthread_attr_init(&a);
    pthread_attr_setstacksize(&a, 16384);
    for (;;) { pthread_t t; pthread_create(&t, &a, stay, 0); }
}")
    .expect_limit("processes");
    expect_unharmed();
}
