//! Gains: a machine to attack others from, a way to carry stolen data out.

use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};

use crate::attempt::{python, shared};

#[test]
fn there_is_no_interface_but_lo_and_no_route() {
    let stdout = python(
        "
import errno, socket
print([line.split(':')[0].strip() for line in open('/proc/net/dev').read().splitlines()[2:]])
for family, address in [(socket.AF_INET, ('192.0.2.1', 80)), (socket.AF_INET6, ('2001:db8::1', 80))]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            s = socket.socket(family, kind)
            s.settimeout(1)
            s.connect(address)
            s.send(b'x')
            print('CONNECTED', family, kind)
        except OSError as error:
            print(errno.errorcode.get(error.errno, error))
try:
    print('RESOLVED', socket.getaddrinfo('example.com', 80))
except OSError:
    print('no name')
",
    )
    .expect_stdout();
    let mut lines = stdout.lines();
    assert_eq!(lines.next(), Some("['lo']"), "{stdout}");
    assert!(!stdout.contains("CONNECTED") && !stdout.contains("RESOLVED"), "{stdout}");
    for line in lines.take(4) {
        assert!(
            ["ENETUNREACH", "EPERM", "EAFNOSUPPORT", "EADDRNOTAVAIL", "EACCES", "ENOSYS"].contains(&line),
            "{stdout}"
        );
    }
}

#[test]
fn a_listener_on_every_address_of_the_host_hears_nothing() {
    let tcp = TcpListener::bind("0.0.0.0:0").expect("a port");
    let udp = UdpSocket::bind("0.0.0.0:0").expect("a port");
    tcp.set_nonblocking(true).expect("non-blocking");
    udp.set_nonblocking(true).expect("non-blocking");
    let addresses = host_addresses().join(" ");
    let (tcp_port, udp_port) = (tcp.local_addr().expect("bound").port(), udp.local_addr().expect("bound").port());
    let answer = shared()
        .program(
            "python",
            "
import socket, sys
tcp, udp = int(sys.argv[1]), int(sys.argv[2])
for host in ['127.0.0.1', '0.0.0.0'] + sys.argv[3].split():
    for kind, port in ((socket.SOCK_STREAM, tcp), (socket.SOCK_DGRAM, udp)):
        try:
            s = socket.socket(socket.AF_INET, kind)
            s.settimeout(1)
            s.connect((host, port))
            s.send(b'x')
        except OSError:
            pass
print('tried')
",
        )
        .args(&[&tcp_port.to_string(), &udp_port.to_string(), &addresses])
        .run();
    assert_eq!(answer.expect_stdout(), "tried\n");
    assert_eq!(tcp.accept().map(|_| ()).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
    assert_eq!(udp.recv(&mut [0; 8]).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
}

fn host_addresses() -> Vec<String> {
    let output = std::process::Command::new("hostname").arg("-I").output().expect("hostname");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().filter(|address| !address.contains(':')).map(str::to_owned).collect()
}
