//! One question to the cluster's DNS server, to know that it answers.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

/// The first address that `server` has for `name`; `None` when it has none or does not answer in time.
pub fn lookup(server: SocketAddr, name: &str) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    socket.connect(server).ok()?;
    socket.send(&question(name)).ok()?;
    let mut buffer = [0; 1500];
    let length = socket.recv(&mut buffer).ok()?;
    first_address(buffer.get(..length)?)
}

/// A query for the A records of `name`.
fn question(name: &str) -> Vec<u8> {
    // Id, "recursion desired", one question, nothing else.
    let mut packet = vec![0x7a, 0x11, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        packet.push(u8::try_from(label.len()).unwrap_or(0));
        packet.extend_from_slice(label.as_bytes());
    }
    // End of the name, type A, class IN.
    packet.extend_from_slice(&[0, 0, 1, 0, 1]);
    packet
}

fn first_address(packet: &[u8]) -> Option<Ipv4Addr> {
    let number = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    let mut at = skip_name(packet, 12)? + 4;
    for _ in 0..number(6)? {
        at = skip_name(packet, at)?;
        let (kind, length) = (number(at)?, usize::from(number(at + 8)?));
        let data = packet.get(at + 10..at + 10 + length)?;
        if kind == 1 {
            return <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from);
        }
        at += 10 + length;
    }
    None
}

fn skip_name(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *packet.get(at)? {
            0 => return Some(at + 1),
            // A pointer to an earlier name ends this one.
            length if length >= 0xc0 => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_behind_an_alias() {
        let mut packet = question("a.b");
        packet[7] = 2;
        packet.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 1, 0, 2, 0xc0, 12]);
        packet.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 10, 96, 0, 1]);
        assert_eq!(first_address(&packet), Some(Ipv4Addr::new(10, 96, 0, 1)));
    }

    #[test]
    fn a_cut_answer_has_no_address() {
        let mut packet = question("a.b");
        packet[7] = 1;
        packet.extend_from_slice(&[0xc0, 12, 0, 1, 0]);
        assert_eq!(first_address(&packet), None);
    }
}
