//! A network namespace serves one run after another, and none finds anything of those before it.

use std::collections::{HashMap, HashSet};

use crankcase_tests::Daemon;

use super::{daemon, python, warm_hits};

/// The network namespace, by a number that the kernel gives only once (`SO_NETNS_COOKIE`).
const COOKIE: &str = "
import socket
with socket.socket(socket.AF_UNIX) as s:
    print(int.from_bytes(s.getsockopt(socket.SOL_SOCKET, 71, 8), 'little'))
";

/// Leaves what Unix sockets can: names, listeners, a child that holds them, messages with sockets that nobody receives.
const UNIX: &str = r"
import array, os, time
for name in (b'\0left', b'\0left2', '/tmp/left'):
    s = socket.socket(socket.AF_UNIX); s.bind(name); s.listen(); os.dup(s.fileno())
d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); d.bind(b'\0left-datagrams')
e = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); e.connect(b'\0left-datagrams'); e.send(b'x')
if os.fork() == 0:
    os.setsid(); time.sleep(60)
";

/// Sockets that hold each other in messages: nobody has them, and the kernel collects them when it comes to it.
const CYCLE: &str = r"
import array
for n in range(4):
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    named = socket.socket(socket.AF_UNIX); named.bind(b'\0cycle%d' % n)
    held = array.array('i', [a.fileno(), b.fileno(), named.fileno()])
    for end in (a, b):
        end.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, held)])
";

/// Moves counters, joins groups, takes flow labels, asks for every kind of IP socket.
const IP: &str = r"
import struct
for family, address in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for act in (lambda s: s.bind(('', 4000)), lambda s: s.bind((address, 4001)), lambda s: s.listen(),
                    lambda s: s.connect((address, 4000)), lambda s: s.sendto(b'x', (address, 4000))):
            s = socket.socket(family, kind); s.settimeout(0.1)
            try: act(s)
            except OSError: pass
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try: s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack('4s4si', socket.inet_aton('239.1.2.3'), b'\0' * 4, 1))
except OSError: pass
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
try: s.setsockopt(socket.IPPROTO_IPV6, 20, socket.inet_pton(socket.AF_INET6, 'ff02::1:2:3') + struct.pack('i', 1))
except OSError: pass
# IPV6_FLOWLABEL_MGR: a label for this process alone, which outlives its socket.
request = socket.inet_pton(socket.AF_INET6, '2001:db8::1') + struct.pack('!I', 0x12345) + struct.pack('=BBHHHI', 0, 1, 1, 60, 60, 0)
try: s.setsockopt(socket.IPPROTO_IPV6, 32, request)
except OSError: pass
";

/// One IP socket, made in a thread of a child of a child; no packet, no name, no counter.
const ONE_SOCKET: &str = r"
import os, threading
if os.fork() == 0:
    if os.fork() == 0:
        t = threading.Thread(target=lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close())
        t.start(); t.join(); os._exit(0)
    os.wait(); os._exit(0)
os.wait()
";

/// All that the kernel tells of a network namespace, but for what it counts for the whole host. The path is put together
/// so that the program may take a warm process.
const LOOK: &str = r"
import os
place = '/pr' + 'oc/net/'
for name in ('unix', 'tcp', 'tcp6', 'udp', 'udp6', 'udplite', 'udplite6', 'raw', 'raw6', 'icmp', 'icmp6', 'igmp', 'igmp6',
             'mcfilter', 'mcfilter6', 'dev_mcast', 'anycast6', 'ip6_flowlabel', 'if_inet6', 'route', 'ipv6_route', 'rt6_stats',
             'arp', 'dev', 'dev_snmp6/lo', 'snmp', 'snmp6', 'netstat', 'xfrm_stat', 'packet', 'sockstat6', 'sockstat'):
    try: text = open(place + name).read()
    except OSError as error: text = str(error.errno)
    if name == 'sockstat':
        text = [w for line in text.splitlines() for w in line.split(' orphan')[0].split(' mem')[0].split(' alloc')]
    print(name, text)
";

fn cookie(daemon: &Daemon, then: &str) -> u64 {
    let out = daemon.run("python", &format!("{COOKIE}{then}")).expect_stdout();
    out.lines().next().and_then(|line| line.parse().ok()).unwrap_or_else(|| panic!("no cookie in {out}"))
}

fn look(daemon: &Daemon, plain: bool) -> (u64, String) {
    // A program that names /proc is started plainly, by this very word.
    let word = if plain { "# /proc/self\n" } else { "" };
    let out = daemon.run("python", &format!("{COOKIE}{LOOK}{word}")).expect_stdout();
    let (cookie, rest) = out.split_once('\n').expect("a cookie and the rest");
    (cookie.parse().expect("a number"), rest.to_owned())
}

#[test]
fn a_network_namespace_that_serves_again_shows_nothing_of_before() {
    let daemon = daemon(python(2));
    // In one that nobody had before: the daemon has just started.
    let (_, pristine) = look(&daemon, false);
    let (mut served, mut spoilt) = (HashMap::<u64, u32>::new(), HashSet::new());
    for round in 0..60 {
        let left = [UNIX, CYCLE, IP, ONE_SOCKET, ""][round % 5];
        let used = cookie(&daemon, left);
        assert!(!spoilt.contains(&used), "round {round}: a namespace with IP sockets served again");
        *served.entry(used).or_default() += 1;
        if [IP, ONE_SOCKET].contains(&left) {
            spoilt.insert(used);
        }
        for plain in [false, true] {
            let (used, text) = look(&daemon, plain);
            assert_eq!(text, pristine, "round {round}, plain: {plain}");
            assert!(!spoilt.contains(&used), "round {round}: a namespace with IP sockets served again");
            *served.entry(used).or_default() += 1;
        }
    }
    let again: u32 = served.values().map(|times| times - 1).sum();
    assert!(again > 60, "namespaces hardly serve again: {served:?}");
    assert_eq!(spoilt.len(), 24);
    assert!(warm_hits(&daemon, "python") >= 100);
}

#[test]
fn many_sockets_one_after_the_other_and_at_once() {
    let daemon = daemon(python(2));
    let code = r"
import socket, threading
def many():
    for _ in range(300):
        socket.socket(socket.AF_INET).close(); socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
threads = [threading.Thread(target=many) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
server = socket.socket(); server.bind(('', 0)); server.listen()
try: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
except OSError: print('done')
";
    for word in ["", "# /proc/self\n"] {
        assert_eq!(daemon.run("python", &format!("{code}{word}")).expect_stdout(), "done\n");
    }
}
