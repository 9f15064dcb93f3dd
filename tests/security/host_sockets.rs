//! Gains: services of the host that listen on Unix sockets (D-Bus, Docker, X11, the spawner).

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use crate::attempt::{shared, unique};

#[test]
fn abstract_and_named_sockets_of_the_host_are_out_of_reach() {
    let name = unique("crankcase-test-");
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let abstract_one = UnixListener::bind_addr(&address).expect("an abstract socket");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let named = UnixListener::bind(&path).expect("a named socket");
    for listener in [&abstract_one, &named] {
        listener.set_nonblocking(true).expect("non-blocking");
    }
    let answer = shared()
        .program(
            "python",
            r"
import os, socket, sys
for address in ('\0' + sys.argv[1], sys.argv[2], '/run/crankcase/spawner.sock', '/run/dbus/system_bus_socket',
                '/var/run/docker.sock', '\0/tmp/.X11-unix/X0'):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        try:
            socket.socket(socket.AF_UNIX, kind).connect(address)
            print('CONNECTED', address)
        except OSError:
            pass
try:
    print([line for line in open('/proc/net/unix').read().splitlines()[1:] if '/' in line or '@' in line])
except OSError:
    print([])
",
        )
        .args(&[&name, &path.to_string_lossy()])
        .run();
    assert_eq!(answer.expect_stdout(), "[]\n");
    for listener in [&abstract_one, &named] {
        assert_eq!(listener.accept().map(|_| ()).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
    }
}
