//! What members gossip, byte for byte.
//!
//! ```text
//! datagram = version u8 │ Gossip(packet) or Leaving(incarnation)
//! packet   = header │ number of updates u16, high byte first │ update, update, …
//! header   = from, its refutations, to, message          update = identity, its refutations, state
//! ```
//!
//! A packet's form is that of `foca`, which makes and reads it by [`Spelling`]. It is read here as well, before
//! foca gets it: what one member says of others is not believed as a whole.

use super::protocol::reachable;
use crate::certificate::RoleSet;
use crate::ids::NodeId;
use crate::wire::{self, WireError};
use bytes::{Buf, BufMut};
use core::net::SocketAddr;
use foca::{Codec, Header, Member};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// One life of a node. What it does and where it is are hints: they decide nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) node: NodeId,
    pub(super) incarnation: u64,
    pub(super) roles: RoleSet,
    pub(super) addresses: Vec<SocketAddr>,
}

impl Identity {
    /// A life of which nothing else is known.
    pub(super) fn bare(node: NodeId, incarnation: u64) -> Identity {
        Identity {
            node,
            incarnation,
            roles: RoleSet::default(),
            addresses: Vec::new(),
        }
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Identity) -> bool {
        (self.node, self.incarnation) == (other.node, other.incarnation)
    }
}

impl Eq for Identity {}

impl foca::Identity for Identity {
    type Addr = NodeId;

    /// Whoever is held dead and is not begins the next life at once.
    fn renew(&self) -> Option<Identity> {
        let incarnation = self.incarnation.checked_add(1)?;
        Some(Identity {
            incarnation,
            ..self.clone()
        })
    }

    fn addr(&self) -> NodeId {
        self.node
    }

    fn win_addr_conflict(&self, other: &Identity) -> bool {
        self.incarnation > other.incarnation
    }
}

/// What one datagram says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Datagram {
    /// A packet of foca's.
    Gossip(Vec<u8>),
    /// The sender stops, and says so.
    Leaving {
        /// Which life of it ends.
        incarnation: u64,
    },
}

impl Datagram {
    pub(super) fn write(&self) -> Vec<u8> {
        wire::encode(VERSION, self)
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Datagram, WireError> {
        wire::decode(VERSION, bytes, DATAGRAM_BYTES_MAX)
    }
}

/// A packet, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) header: Header<Identity>,
    pub(super) updates: Vec<Member<Identity>>,
}

impl Packet {
    pub(super) fn read(bytes: &[u8]) -> Result<Packet, WireError> {
        let mut left = bytes;
        let header = Spelling.decode_header(&mut left)?;
        let mut updates = Vec::new();
        if left.len() >= 2 {
            // A packet has room for a few dozen: the number that is said ends nothing but the loop.
            for _ in 0..left.get_u16() {
                updates.push(Spelling.decode_member(&mut left)?);
            }
        }
        match left.len() {
            0 => Ok(Packet { header, updates }),
            bytes => Err(WireError::Trailing { bytes }),
        }
    }

    /// The packet's bytes; of updates, those that have room.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        wire::put(&self.header, &mut bytes);
        if !self.updates.is_empty() {
            bytes.put_u16(self.updates.len() as u16);
            for update in &self.updates {
                wire::put(update, &mut bytes);
            }
        }
        bytes
    }
}

/// How foca's words are spelled.
pub(super) struct Spelling;

impl Codec<Identity> for Spelling {
    type Error = WireError;

    fn encode_header(
        &mut self,
        header: &Header<Identity>,
        into: impl BufMut,
    ) -> Result<(), WireError> {
        write(header, into)
    }

    fn decode_header(&mut self, from: impl Buf) -> Result<Header<Identity>, WireError> {
        let header: Header<Identity> = read(from)?;
        lawful(&header.src)?;
        lawful(&header.dst)?;
        Ok(header)
    }

    fn encode_member(
        &mut self,
        member: &Member<Identity>,
        into: impl BufMut,
    ) -> Result<(), WireError> {
        write(member, into)
    }

    fn decode_member(&mut self, from: impl Buf) -> Result<Member<Identity>, WireError> {
        let member: Member<Identity> = read(from)?;
        lawful(member.id())?;
        Ok(member)
    }
}

fn write<T: Serialize>(value: &T, mut into: impl BufMut) -> Result<(), WireError> {
    let mut bytes = Vec::new();
    wire::put(value, &mut bytes);
    let (bytes_long, limit) = (bytes.len(), into.remaining_mut());
    if bytes_long > limit {
        let bytes = bytes_long;
        return Err(WireError::Long { bytes, limit });
    }
    into.put_slice(&bytes);
    Ok(())
}

fn read<T: DeserializeOwned>(mut from: impl Buf) -> Result<T, WireError> {
    let (value, bytes) = wire::first(from.chunk())?;
    from.advance(bytes);
    Ok(value)
}

fn lawful(identity: &Identity) -> Result<(), WireError> {
    match reachable(&identity.addresses) {
        true => Ok(()),
        false => Err(WireError::Undecodable {
            message: "addresses: too many, or not of one machine".to_owned(),
        }),
    }
}

/// Bytes of a packet, at most: with what is around it, a QUIC datagram on any path has room for it.
pub(super) const PACKET_BYTES_MAX: usize = 1_092;
/// And of a datagram.
pub(super) const DATAGRAM_BYTES_MAX: usize = 1_100;
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use foca::{Message, State};

    fn identity(byte: u8) -> Identity {
        Identity {
            node: NodeId([byte; 32]),
            incarnation: 7,
            roles: RoleSet::WORKER,
            addresses: vec![([10, 0, 0, byte], 9001).into()],
        }
    }

    fn packet() -> Packet {
        Packet {
            header: Header {
                src: identity(1),
                src_incarnation: 2,
                dst: identity(3),
                message: Message::Ping(4),
            },
            updates: vec![Member::new(identity(5), 6, State::Suspect)],
        }
    }

    #[test]
    fn a_packet_and_a_farewell_are_pinned() {
        let life = |byte: u8| {
            let address = [1, 0, 10, 0, 0, byte, 251, 0x29, 0x23];
            [&[byte; 32][..], &[7, 2], &address].concat()
        };
        let expected = [
            &life(1)[..],
            &[2],
            &life(3),
            &[0, 4],
            &[0, 1],
            &life(5),
            &[6, 1],
        ];
        let bytes = packet().write();
        assert_eq!(bytes, expected.concat());
        assert_eq!(Packet::read(&bytes), Ok(packet()));
        let gossip = Datagram::Gossip(vec![8, 9]);
        assert_eq!(gossip.write(), [1, 0, 2, 8, 9]);
        let leaving = Datagram::Leaving { incarnation: 7 };
        assert_eq!(leaving.write(), [1, 1, 7]);
        assert_eq!(Datagram::read(&[1, 1, 7]), Ok(leaving));
    }

    #[test]
    fn the_longest_identity_leaves_room_for_what_a_packet_must_say() {
        let wide: SocketAddr = "[2001:db8:1:2:3:4:5:6]:65535".parse().expect("an address");
        let longest = Identity {
            node: NodeId([9; 32]),
            incarnation: u64::MAX,
            roles: RoleSet::COORDINATOR,
            addresses: vec![wide; super::super::protocol::ADDRESSES_MAX],
        };
        let header = Header {
            src: longest.clone(),
            src_incarnation: u16::MAX,
            dst: longest.clone(),
            message: Message::PingReq {
                target: longest.clone(),
                probe_number: 0,
            },
        };
        let updates = vec![Member::new(longest, u16::MAX, State::Down); 4];
        let bytes = Packet { header, updates }.write();
        assert!(bytes.len() <= PACKET_BYTES_MAX, "{}", bytes.len());
        let most = Datagram::Gossip(vec![0; PACKET_BYTES_MAX]).write();
        assert!(most.len() <= DATAGRAM_BYTES_MAX);
    }

    #[test]
    fn bytes_that_are_no_packet_are_refused_whatever_they_are() {
        let good = packet().write();
        for end in 0..good.len() {
            let _ = Packet::read(&good[..end]);
        }
        let mut dice = super::super::dice::Dice(1);
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..1 + dice.roll() % 4 {
                let at = dice.roll() as usize % bytes.len();
                bytes[at] = dice.roll() as u8;
            }
            if let Ok(read) = Packet::read(&bytes) {
                assert_eq!(Packet::read(&read.write()), Ok(read));
            }
            let _ = Datagram::read(&bytes);
        }
        let mut many = packet();
        many.header.src.addresses = vec![([10, 0, 0, 1], 1).into(); 5];
        assert!(Packet::read(&many.write()).is_err());
    }
}
