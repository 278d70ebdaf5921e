//! Large pieces of memory, and the one way in which several threads write to one of them.
//!
//! `Region` is zeroed memory aligned for any vector register. On Linux it asks for huge pages, because
//! decoding reads every weight once per token and would otherwise wait for address translation.
//! `Shared` lends a buffer to the threads of one step, each of which writes its own part. It is the only
//! place where this crate aliases memory; everything else borrows as usual.

use std::alloc::Layout;
use std::marker::PhantomData;
use std::ops::Range;

use thiserror::Error;

/// The machine has not enough memory for what was asked. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("cannot allocate {bytes} bytes for {what}")]
pub struct OutOfMemory {
    /// What it was for.
    pub what: &'static str,
    /// How much was asked for.
    pub bytes: u64,
}

/// Zeroed memory, aligned to at least 64 bytes, given back when dropped. Pages that were never
/// written take no memory where the system supports that.
#[derive(Debug)]
pub(crate) struct Region {
    at: *mut u8,
    bytes: usize,
}

// SAFETY: a region owns its memory like a Box; access goes through the borrow of the region.
unsafe impl Send for Region {}
// SAFETY: as above; a shared borrow only reads.
unsafe impl Sync for Region {}

impl Region {
    pub(crate) fn new(bytes: usize, what: &'static str) -> Result<Self, OutOfMemory> {
        let error = OutOfMemory {
            what,
            bytes: bytes as u64,
        };
        if bytes == 0 {
            return Ok(Self {
                at: std::ptr::without_provenance_mut(ALIGNMENT),
                bytes,
            });
        }
        if bytes > isize::MAX as usize - ALIGNMENT {
            return Err(error);
        }
        let at = system::allocate(bytes).ok_or(error)?;
        Ok(Self { at, bytes })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `at` points to `bytes` initialized bytes that live as long as self.
        unsafe { std::slice::from_raw_parts(self.at, self.bytes) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.bytes) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: allocated by `allocate` with the same size, and nobody borrows it any more.
            unsafe { system::release(self.at, self.bytes) }
        }
    }
}

/// Numbers, all zero at first. Unlike `vec!` this says so when there is no memory for them; what is not
/// touched takes none, as there.
pub(crate) fn zeros<T: Zero>(length: usize, what: &'static str) -> Result<Vec<T>, OutOfMemory> {
    let error = OutOfMemory {
        what,
        bytes: (length as u64).saturating_mul(size_of::<T>() as u64),
    };
    if length == 0 {
        return Ok(Vec::new());
    }
    let layout = Layout::array::<T>(length).map_err(|_| error)?;
    // SAFETY: the layout has a size, for neither the length nor the type's size is zero.
    let at = unsafe { std::alloc::alloc_zeroed(layout) };
    if at.is_null() {
        return Err(error);
    }
    // SAFETY: the memory is the global allocator's, of this very layout, and all its zeros are numbers.
    Ok(unsafe { Vec::from_raw_parts(at.cast(), length, length) })
}

/// Numbers whose zero has no bits set.
///
/// # Safety
/// Memory of zeros is a value of the type, and the type has a size.
pub(crate) unsafe trait Zero {}

// SAFETY: as the trait says, by IEEE-754 and two's complement.
unsafe impl Zero for f32 {}
// SAFETY: as above.
unsafe impl Zero for i8 {}
// SAFETY: as above.
unsafe impl Zero for i32 {}

/// A buffer lent to several threads at once. Each thread takes slices of its own part; a barrier of
/// the pool separates writing a part from others reading it.
pub(crate) struct Shared<'a, T> {
    at: *mut T,
    length: usize,
    lent: PhantomData<&'a mut [T]>,
}

// SAFETY: access is by unsafe methods whose callers promise not to overlap.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self {
            at: slice.as_mut_ptr(),
            length: slice.len(),
            lent: PhantomData,
        }
    }

    /// A part of the buffer, to read.
    ///
    /// # Safety
    /// No thread writes to any of the range until the next barrier.
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &[T] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: inside the lent buffer; the caller promises that nobody writes.
        unsafe { std::slice::from_raw_parts(self.at.add(range.start), range.len()) }
    }

    /// A part of the buffer, to write.
    ///
    /// # Safety
    /// No other thread touches any of the range until the next barrier, and the caller holds no
    /// other slice that overlaps it.
    #[allow(
        clippy::mut_from_ref,
        reason = "the caller promises that parts do not overlap"
    )]
    pub(crate) unsafe fn slice_mut(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: inside the lent buffer; the caller promises that nobody else touches it.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(range.start), range.len()) }
    }

    /// Writes one element.
    ///
    /// # Safety
    /// No other thread touches this element until the next barrier.
    pub(crate) unsafe fn write(&self, index: usize, value: T) {
        assert!(index < self.length);
        // SAFETY: inside the lent buffer; the caller promises that nobody else touches it.
        unsafe { self.at.add(index).write(value) }
    }
}

/// A cache line, which is also the widest vector register.
const ALIGNMENT: usize = 64;

#[cfg(target_os = "linux")]
mod system {
    /// Below this a region is too small to gain from huge pages.
    const HUGE_FROM: usize = 4 << 20;

    pub(super) fn allocate(bytes: usize) -> Option<*mut u8> {
        // SAFETY: an anonymous private mapping at an address of the system's choice touches nothing
        // that exists.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return None;
        }
        if bytes >= HUGE_FROM {
            // SAFETY: the mapping is ours. A refusal costs speed only, so the result does not matter.
            unsafe { libc::madvise(at, bytes, libc::MADV_HUGEPAGE) };
        }
        Some(at.cast())
    }

    /// # Safety
    /// `at` came from `allocate` with the same size and is not used afterwards.
    pub(super) unsafe fn release(at: *mut u8, bytes: usize) {
        // SAFETY: promised by the caller.
        unsafe { libc::munmap(at.cast(), bytes) };
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::alloc::{Layout, alloc_zeroed, dealloc};

    fn layout(bytes: usize) -> Layout {
        // The caller has checked the size, and the alignment is a power of two.
        Layout::from_size_align(bytes, super::ALIGNMENT).expect("checked by the caller")
    }

    pub(super) fn allocate(bytes: usize) -> Option<*mut u8> {
        // SAFETY: the size is not zero.
        let at = unsafe { alloc_zeroed(layout(bytes)) };
        (!at.is_null()).then_some(at)
    }

    /// # Safety
    /// `at` came from `allocate` with the same size and is not used afterwards.
    pub(super) unsafe fn release(at: *mut u8, bytes: usize) {
        // SAFETY: promised by the caller.
        unsafe { dealloc(at, layout(bytes)) };
    }
}
