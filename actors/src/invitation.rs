//! An invitation on paper: one token that says who invites, where to find it, and a secret that is good once.
//!
//! ```text
//! trp1 | version | coordinator's key (32 bytes), secret (16), addresses | checksum
//!        1 letter   five bits a letter, the last one filled with zeros      6 letters
//! ```
//!
//! It is bech32m (BIP 350) with our own prefix and without its limit of length: 32 lower-case letters and
//! digits of which no two look alike, and a checksum that no change of one letter passes. So a typing error
//! is told apart from a refusal, and before anything is sent. An address is a 4 or a 6, the IP address and the port.
//!
//! The token holds a secret: it is never printed by `Debug`, and a coordinator keeps its hash alone.

use crate::ids::{Digest, NodeId, digest};
use core::net::{IpAddr, SocketAddr};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What an invitation is redeemed with: 128 bits that nobody can guess.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub [u8; 16]);

impl Secret {
    /// What a coordinator keeps of it, and what the invitation is called by.
    pub fn hash(&self) -> Digest {
        digest("troop/invitation/v1", &[&self.0])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The coordinator's key: the joiner says the secret to nobody else.
    pub coordinator: NodeId,
    /// Where it may be reached, the likeliest first: 1 to [`ADDRESSES_MAX`].
    pub addresses: Vec<SocketAddr>,
    /// The secret.
    pub secret: Secret,
}

/// Why a word is no invitation. Nothing was sent anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvitationError {
    /// It begins otherwise.
    #[error("an invitation begins with {PREFIX}")]
    Prefix,
    /// It is longer than any invitation, or too short for one.
    #[error(
        "an invitation has {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} characters, this one has {chars}"
    )]
    Length {
        /// How many it has.
        chars: usize,
    },
    /// A character that is in no invitation.
    #[error("character {at} cannot be in an invitation; all are small letters and digits")]
    Character {
        /// Which one, counted from 1.
        at: usize,
    },
    /// A letter was mistyped, left out or exchanged.
    #[error("the invitation was not typed or copied whole: its checksum is wrong")]
    Checksum,
    /// Made by a version that is not spoken here.
    #[error("the invitation is of version {found}, {VERSION} is known here")]
    Version {
        /// The version it names.
        found: u8,
    },
    /// Its addresses are none, too many, or not addresses.
    #[error("the invitation's addresses are not 1 to {ADDRESSES_MAX} places to reach")]
    Address,
}

impl fmt::Display for Invitation {
    /// The token, with its secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [&self.coordinator.0[..], &self.secret.0].concat();
        for address in &self.addresses {
            match address.ip() {
                IpAddr::V4(ip) => bytes.extend([&[4][..], &ip.octets()].concat()),
                IpAddr::V6(ip) => bytes.extend([&[6][..], &ip.octets()].concat()),
            }
            bytes.extend(address.port().to_be_bytes());
        }
        let mut letters = vec![VERSION];
        letters.extend(to_fives(&bytes));
        letters.extend(checksum(&letters));
        f.write_str(PREFIX)?;
        letters
            .iter()
            .try_for_each(|letter| write!(f, "{}", char::from(ALPHABET[usize::from(*letter)])))
    }
}

impl FromStr for Invitation {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Invitation, InvitationError> {
        let body = text.strip_prefix(PREFIX).ok_or(InvitationError::Prefix)?;
        if !(TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&text.len()) {
            let chars = text.chars().count();
            return Err(InvitationError::Length { chars });
        }
        let mut letters = Vec::with_capacity(body.len());
        for (index, char) in body.chars().enumerate() {
            let found = ALPHABET
                .iter()
                .position(|letter| char::from(*letter) == char);
            let at = PREFIX.len() + index + 1;
            letters.push(found.ok_or(InvitationError::Character { at })? as u8);
        }
        if residue(HUMAN, &letters) != CHECKSUM_GOOD {
            return Err(InvitationError::Checksum);
        }
        letters.truncate(letters.len().saturating_sub(CHECKSUM_LETTERS));
        let (&found, fives) = letters.split_first().ok_or(InvitationError::Checksum)?;
        if found != VERSION {
            return Err(InvitationError::Version { found });
        }
        let bytes = from_fives(fives).ok_or(InvitationError::Address)?;
        let (coordinator, rest) = bytes.split_first_chunk().ok_or(InvitationError::Address)?;
        let (secret, rest) = rest.split_first_chunk().ok_or(InvitationError::Address)?;
        Ok(Invitation {
            coordinator: NodeId(*coordinator),
            addresses: addresses(rest).ok_or(InvitationError::Address)?,
            secret: Secret(*secret),
        })
    }
}

fn addresses(mut rest: &[u8]) -> Option<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    while let Some((family, after)) = rest.split_first() {
        let (ip, after): (IpAddr, _) = match family {
            4 => after
                .split_first_chunk::<4>()
                .map(|(ip, a)| ((*ip).into(), a))?,
            6 => after
                .split_first_chunk::<16>()
                .map(|(ip, a)| ((*ip).into(), a))?,
            _ => return None,
        };
        let (port, after) = after.split_first_chunk()?;
        addresses.push(SocketAddr::new(ip, u16::from_be_bytes(*port)));
        rest = after;
    }
    lawful(&addresses).then_some(addresses)
}

/// Whether an invitation may name these: 1 to [`ADDRESSES_MAX`], each of which something can be sent to.
pub fn lawful(addresses: &[SocketAddr]) -> bool {
    let reachable = |address: &SocketAddr| address.port() != 0 && !address.ip().is_unspecified();
    (1..=ADDRESSES_MAX).contains(&addresses.len()) && addresses.iter().all(reachable)
}

/// Bits in groups of five, the last filled with zeros.
fn to_fives(bytes: &[u8]) -> Vec<u8> {
    let bit = |at: usize| match bytes.get(at / 8) {
        Some(byte) => byte >> (7 - at % 8) & 1,
        None => 0,
    };
    let fives = 0..(8 * bytes.len()).div_ceil(5);
    fives
        .map(|five| (0..5).fold(0, |letter, at| letter << 1 | bit(5 * five + at)))
        .collect()
}

/// The whole bytes in groups of five bits; none if what fills the last is not less than a group of zeros.
fn from_fives(fives: &[u8]) -> Option<Vec<u8>> {
    let bit = |at: usize| fives[at / 5] >> (4 - at % 5) & 1;
    let (bits, whole) = (5 * fives.len(), 5 * fives.len() / 8);
    let filled = 8 * whole..bits;
    if filled.len() >= 5 || filled.into_iter().any(|at| bit(at) == 1) {
        return None;
    }
    let byte = |index: usize| (0..8).fold(0, |byte, at| byte << 1 | bit(8 * index + at));
    Some((0..whole).map(byte).collect())
}

/// The remainder of the letters, after those of the prefix, by the generator of bech32.
fn residue(human: &[u8], letters: &[u8]) -> u32 {
    let high = human.iter().map(|byte| byte >> 5);
    high.chain([0])
        .chain(human.iter().map(|byte| byte & 31))
        .chain(letters.iter().copied())
        .fold(1, |sum: u32, letter| {
            let shifted = (sum & 0x01ff_ffff) << 5 ^ u32::from(letter);
            let parts = GENERATOR.iter().enumerate();
            parts.fold(shifted, |shifted, (bit, part)| {
                shifted ^ (part * (sum >> (25 + bit) & 1))
            })
        })
}

fn checksum(letters: &[u8]) -> [u8; CHECKSUM_LETTERS] {
    let sum = residue(HUMAN, &[letters, &[0; CHECKSUM_LETTERS]].concat()) ^ CHECKSUM_GOOD;
    std::array::from_fn(|at| (sum >> (5 * (CHECKSUM_LETTERS - 1 - at)) & 31) as u8)
}

/// What every invitation begins with.
pub const PREFIX: &str = "trp1";
/// Addresses in one invitation, at most: a machine has a few networks, and the joiner tries them all.
pub const ADDRESSES_MAX: usize = 8;
/// Characters of an invitation: with one IPv4 address, and with eight IPv6 addresses.
const TOKEN_CHARS_MIN: usize = 99;
const TOKEN_CHARS_MAX: usize = 331;
const VERSION: u8 = 1;
const HUMAN: &[u8] = b"trp";
const CHECKSUM_LETTERS: usize = 6;
const CHECKSUM_GOOD: u32 = 0x2bc8_30a3;
const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR: [u32; 5] = [
    0x3b6a_57b2,
    0x2650_8e6d,
    0x1ea1_19fa,
    0x3d42_33dd,
    0x2a14_62b3,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn invitation(addresses: &[&str]) -> Invitation {
        Invitation {
            coordinator: NodeId(std::array::from_fn(|at| at as u8)),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            secret: Secret([0xa5; 16]),
        }
    }

    /// An invitation of these bytes, with a checksum that is right.
    fn token(version: u8, bytes: &[u8]) -> String {
        let mut letters = vec![version];
        letters.extend(to_fives(bytes));
        letters.extend(checksum(&letters));
        let letters = letters.iter().map(|letter| ALPHABET[usize::from(*letter)]);
        format!("{PREFIX}{}", String::from_utf8(letters.collect()).unwrap())
    }

    #[test]
    fn a_token_reads_back_and_with_one_address_it_is_short() {
        let one = invitation(&["192.168.1.20:9001"]);
        assert_eq!(one.to_string().len(), 99);
        assert_eq!(one.to_string(), PINNED);
        for addresses in [
            &["192.168.1.20:9001"][..],
            &["192.168.1.20:9001", "[2001:db8::1]:9001"],
            &["[2001:db8::1]:1"; 8],
        ] {
            let invitation = invitation(addresses);
            assert_eq!(invitation.to_string().parse(), Ok(invitation));
        }
        let longest = invitation(&["[2001:db8::1]:1"; 8]);
        assert_eq!(longest.to_string().len(), TOKEN_CHARS_MAX);
    }

    #[test]
    fn a_checksum_is_the_one_of_the_standard() {
        // BIP 350's shortest valid word: the prefix "a", no letters, the checksum lqfn3a.
        let place = |byte| ALPHABET.iter().position(|letter| *letter == byte).unwrap();
        let letters: Vec<u8> = b"lqfn3a".iter().map(|byte| place(*byte) as u8).collect();
        assert_eq!(residue(b"a", &letters), CHECKSUM_GOOD);
    }

    #[test]
    fn every_change_of_one_character_and_every_swap_of_two_neighbours_is_refused() {
        let token = invitation(&["192.168.1.20:9001", "[2001:db8::1]:9001"]).to_string();
        let mut refused = 0;
        for at in 0..token.len() {
            for other in 0..128u8 {
                let mut changed = token.clone().into_bytes();
                if changed[at] == other {
                    continue;
                }
                changed[at] = other;
                let changed = String::from_utf8(changed).unwrap();
                let error = changed.parse::<Invitation>().unwrap_err();
                let expected = match at {
                    0..4 => InvitationError::Prefix,
                    _ if ALPHABET.contains(&other) => InvitationError::Checksum,
                    _ => InvitationError::Character { at: at + 1 },
                };
                assert_eq!(error, expected, "{changed}");
                refused += 1;
            }
            let mut swapped = token.clone().into_bytes();
            if at + 1 < swapped.len() && swapped[at] != swapped[at + 1] {
                swapped.swap(at, at + 1);
                let swapped = String::from_utf8(swapped).unwrap();
                assert!(swapped.parse::<Invitation>().is_err(), "{swapped}");
            }
        }
        assert_eq!(refused, 127 * token.len());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let good = invitation(&["192.168.1.20:9001"]).to_string();
        let bytes = |addresses: &[u8]| [&[7; 48][..], addresses].concat();
        let v4 = [4, 127, 0, 0, 1, 0, 80];
        let cases = [
            (String::new(), InvitationError::Prefix),
            ("hello".to_owned(), InvitationError::Prefix),
            (good.to_uppercase(), InvitationError::Prefix),
            ("trp1qqq".to_owned(), InvitationError::Length { chars: 7 }),
            (
                format!("trp1{}", "q".repeat(400)),
                InvitationError::Length { chars: 404 },
            ),
            (
                format!("{}é", &good[..98]),
                InvitationError::Character { at: 99 },
            ),
            (format!("{good} "), InvitationError::Character { at: 100 }),
            (format!("{good}q"), InvitationError::Checksum),
            (token(2, &bytes(&v4)), InvitationError::Version { found: 2 }),
            // Nothing at a port, nowhere, another family, half an address, nine of them.
            (
                token(1, &bytes(&[4, 127, 0, 0, 1, 0, 0])),
                InvitationError::Address,
            ),
            (
                token(1, &bytes(&[4, 0, 0, 0, 0, 0, 80])),
                InvitationError::Address,
            ),
            (
                token(1, &bytes(&[5, 127, 0, 0, 1, 0, 80])),
                InvitationError::Address,
            ),
            (
                token(1, &bytes(&[&v4[..], &[4, 1]].concat())),
                InvitationError::Address,
            ),
            (token(1, &bytes(&v4.repeat(9))), InvitationError::Address),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Invitation>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_secret_is_not_printed_by_mistake() {
        let printed = format!("{:?}", invitation(&["1.2.3.4:5"]));
        assert!(printed.contains("Secret(…)"), "{printed}");
    }

    proptest! {
        #[test]
        fn nothing_that_is_typed_does_harm(text in "(trp1)?[ -~é]{0,200}") {
            prop_assert!(text.parse::<Invitation>().is_err());
        }

        #[test]
        fn what_a_right_checksum_covers_is_read_or_refused(
            version in 0u8..32,
            bytes in proptest::collection::vec(any::<u8>(), 0..210),
        ) {
            let token = token(version, &bytes);
            if let Ok(invitation) = token.parse::<Invitation>() {
                prop_assert_eq!(invitation.to_string(), token);
            }
        }
    }

    const PINNED: &str = "trp1pqqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc06tfd95kj6tfd95kj6tfd95kj62pxq4qq3ggefutmw9y";
}
