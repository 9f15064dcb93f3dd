//! Gains: the daemon's own interface, databases and caches that trust the loopback.

use crate::attempt::shared;

#[test]
fn the_daemon_cannot_be_reached_from_inside() {
    let port = shared().address().port().to_string();
    let answer = shared()
        .program(
            "python",
            "
import socket, sys
for host in ('127.0.0.1', '127.0.0.2', '::1', '0.0.0.0', 'localhost'):
    try:
        socket.create_connection((host, int(sys.argv[1])), timeout=1).close()
        print('CONNECTED', host)
    except OSError as error:
        print('refused')
",
        )
        .args(&[&port])
        .run();
    assert_eq!(answer.expect_stdout(), "refused\n".repeat(5));
}
