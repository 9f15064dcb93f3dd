//! Gains: rarely tested kernel code (`AF_ALG`, `AF_VSOCK`, netlink), frames on the wire (`AF_PACKET`, raw).

use crate::attempt::expect_refused;

#[test]
fn af_alg_is_refused() {
    expect_refused(&["socket(AF_ALG, SOCK_SEQPACKET, 0)"]);
}

#[test]
fn af_vsock_is_refused() {
    expect_refused(&["socket(40 /* AF_VSOCK */, SOCK_STREAM, 0)", "socket(40, SOCK_DGRAM, 0)"]);
}

#[test]
fn af_packet_is_refused() {
    expect_refused(&["socket(AF_PACKET, SOCK_RAW, 0x300)", "socket(AF_PACKET, SOCK_DGRAM, 0x300)"]);
}

#[test]
fn raw_sockets_are_refused() {
    expect_refused(&[
        "socket(AF_INET, SOCK_RAW, 1 /* ICMP */)",
        "socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, 255)",
        "socket(AF_INET6, SOCK_RAW, 58)",
    ]);
}

#[test]
fn netlink_is_refused() {
    expect_refused(&[
        "socket(AF_NETLINK, SOCK_RAW, 0 /* ROUTE */)",
        "socket(AF_NETLINK, SOCK_RAW, 12 /* NETFILTER */)",
        "socket(AF_NETLINK, SOCK_DGRAM, 15 /* KOBJECT_UEVENT */)",
    ]);
}

#[test]
fn further_families_are_refused() {
    expect_refused(&[
        "socket(29 /* AF_CAN */, SOCK_RAW, 1)",
        "socket(31 /* AF_BLUETOOTH */, SOCK_RAW, 1)",
        "socket(30 /* AF_TIPC */, SOCK_RDM, 0)",
        "socket(21 /* AF_RDS */, SOCK_SEQPACKET, 0)",
        "socket(44 /* AF_XDP */, SOCK_RAW, 0)",
        "socket(15 /* AF_KEY */, SOCK_RAW, 2)",
    ]);
}
