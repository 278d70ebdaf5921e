//! A long way between two machines: datagrams pass through sockets of the test, which keeps each for a while.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Hands on to `to` what comes to the address it returns, and back to the one who sent it what `to` says to that.
/// Both ways keep their order. It is there until the test's process ends.
pub(crate) fn relay(at: Ipv4Addr, to: SocketAddr) -> SocketAddr {
    let socket = || Arc::new(UdpSocket::bind((at, 0)).expect("a free port"));
    let (near, far) = (socket(), socket());
    let address = near.local_addr().expect("it is bound");
    let sender = Arc::new(Mutex::new(None));
    let (known, from, onward) = (sender.clone(), near.clone(), far.clone());
    way(
        move |buffer| {
            let (length, sender) = from.recv_from(buffer).ok()?;
            *known.lock().expect("nobody panics with it") = Some(sender);
            Some(length)
        },
        move |bytes| drop(onward.send_to(bytes, to)),
    );
    way(
        move |buffer| Some(far.recv_from(buffer).ok()?.0),
        move |bytes| {
            let sender = *sender.lock().expect("nobody panics with it");
            let sender = sender.expect("who answers was asked");
            drop(near.send_to(bytes, sender));
        },
    );
    address
}

/// One direction: a thread takes datagrams in and says when each is due, another one hands them on.
fn way(
    take: impl Fn(&mut [u8]) -> Option<usize> + Send + 'static,
    hand_on: impl Fn(&[u8]) + Send + 'static,
) {
    let (sender, receiver) = sync_channel::<(Instant, Vec<u8>)>(QUEUE);
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        let mut dice: u64 = 1;
        while let Some(length) = take(&mut buffer) {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let spread = DELAY_MICROS.end - DELAY_MICROS.start;
            let delay = DELAY_MICROS.start + (dice >> 33) % spread;
            let due = now() + Duration::from_micros(delay);
            // Where too much waits, it is lost, as on any way.
            let _ = sender.try_send((due, buffer[..length].to_vec()));
        }
    });
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(now()));
            hand_on(&bytes);
        }
    });
}

#[allow(clippy::disallowed_methods)] // Real packets are kept for a real time.
fn now() -> Instant {
    Instant::now()
}

/// How long one way takes: a country away, with the jitter of a household's line.
pub(crate) const DELAY_MICROS: Range<u64> = 30_000..50_000;
/// Datagrams that wait on one way.
const QUEUE: usize = 4_096;
