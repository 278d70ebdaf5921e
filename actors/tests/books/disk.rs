//! A disk in memory that fails at a chosen call, loses what was not synced, and tears what was in flight.

use redb::StorageBackend;
use std::io;
use std::sync::{Arc, Mutex};

/// What the disk does at the chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This call fails, and every later one.
    Dead,
    /// This call fails; later ones do not.
    Once,
    /// This call fails after half of it was done, and every later one fails.
    Torn,
}

/// The plates, shared by those who open them one after another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plates(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What a reader sees.
    seen: Vec<u8>,
    /// What a power cut leaves for certain.
    synced: Vec<u8>,
    /// Changes since the last sync, in order.
    unsynced: Vec<Change>,
    calls: u64,
    fault: Option<(u64, Fault)>,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Change::Length(length) => image.resize(*length, 0),
            Change::Bytes(at, bytes) => {
                image.resize(image.len().max(at + bytes.len()), 0);
                image[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

impl Plates {
    /// Plates that hold `image`, all of it synced.
    pub(crate) fn of(image: Vec<u8>) -> Plates {
        let state = State {
            seen: image.clone(),
            synced: image,
            ..State::default()
        };
        Plates(Arc::new(Mutex::new(state)))
    }

    /// The calls so far that could have failed.
    pub(crate) fn calls(&self) -> u64 {
        self.0.lock().unwrap().calls
    }

    /// Plants `fault` at call `at`, counted from 1.
    pub(crate) fn plant(&self, at: u64, fault: Fault) {
        self.0.lock().unwrap().fault = Some((at, fault));
    }

    /// What the process that opens the file next finds, the machine having kept running.
    pub(crate) fn seen(&self) -> Vec<u8> {
        self.0.lock().unwrap().seen.clone()
    }

    /// What a power cut leaves: of the changes that were not synced any part, in any order, each possibly
    /// torn at a sector. `dice` decides.
    pub(crate) fn after_power_cut(&self, dice: &mut impl FnMut() -> u64) -> Vec<u8> {
        let state = self.0.lock().unwrap();
        let mut image = state.synced.clone();
        let mut changes = state.unsynced.clone();
        for index in (1..changes.len()).rev() {
            changes.swap(index, (dice() % (index as u64 + 1)) as usize);
        }
        for change in changes {
            match (dice() % 3, change) {
                (0, _) => {}
                (1, Change::Bytes(at, bytes)) => {
                    let sectors = bytes.len().div_ceil(SECTOR) as u64;
                    let kept = (dice() % (sectors + 1)) as usize * SECTOR;
                    let kept = kept.min(bytes.len());
                    Change::Bytes(at, bytes[..kept].to_vec()).apply(&mut image);
                }
                (_, change) => change.apply(&mut image),
            }
        }
        image
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let fault = state.trip();
        let done = match (fault, &change) {
            (None, _) => change,
            (Some(Fault::Torn), Change::Bytes(at, bytes)) => {
                let half = bytes.len() / 2 / SECTOR * SECTOR;
                Change::Bytes(*at, bytes[..half].to_vec())
            }
            _ => return Err(failed()),
        };
        done.apply(&mut state.seen);
        state.unsynced.push(done);
        if fault.is_some() {
            Err(failed())
        } else {
            Ok(())
        }
    }
}

impl State {
    fn trip(&mut self) -> Option<Fault> {
        self.calls += 1;
        let (at, fault) = self.fault?;
        let strikes = match fault {
            Fault::Once => self.calls == at,
            Fault::Dead | Fault::Torn => self.calls >= at,
        };
        let fault = if self.calls == at { fault } else { Fault::Dead };
        strikes.then_some(fault)
    }
}

fn failed() -> io::Error {
    io::Error::other("the disk failed, as it was told to")
}

impl StorageBackend for Plates {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let offset = offset as usize;
        let bytes = state.seen.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if state.trip().is_some() {
            return Err(failed());
        }
        state.synced = state.seen.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Bytes(offset as usize, data.to_vec()))
    }
}

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
