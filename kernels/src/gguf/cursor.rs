//! A place in the header, and reading on from it: nothing is taken that is not there.

use super::GgufError;
use super::value::ValueKind;

pub(super) struct Cursor<'a> {
    /// The file, cut off where a header must have ended.
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

// Fields are named by closures, for the names cost more than the reading and are needed only on failure.
impl<'a> Cursor<'a> {
    pub(super) fn take(
        &mut self,
        length: usize,
        field: impl FnOnce() -> String,
    ) -> Result<&'a [u8], GgufError> {
        let left = &self.bytes[self.at..];
        let Some(taken) = left.get(..length) else {
            let (needed, left) = (length as u64, left.len() as u64);
            return Err(GgufError::Truncated {
                field: field(),
                needed,
                left,
            });
        };
        self.at += length;
        Ok(taken)
    }

    pub(super) fn word<const N: usize>(
        &mut self,
        field: impl FnOnce() -> String,
    ) -> Result<[u8; N], GgufError> {
        let mut word = [0; N];
        word.copy_from_slice(self.take(N, field)?);
        Ok(word)
    }

    pub(super) fn u32(&mut self, field: impl FnOnce() -> String) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.word(field)?))
    }

    pub(super) fn u64(&mut self, field: impl FnOnce() -> String) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.word(field)?))
    }

    pub(super) fn kind(&mut self, field: impl Fn() -> String) -> Result<ValueKind, GgufError> {
        let id = self.u32(&field)?;
        ValueKind::from_id(id).ok_or_else(|| GgufError::limit(field(), id, "0..=12"))
    }

    /// A count of things that each take at least `bytes_min`, after `before` bytes that come first.
    pub(super) fn count(
        &mut self,
        field: &str,
        limit: usize,
        bytes_min: usize,
        before: usize,
    ) -> Result<usize, GgufError> {
        let count = self.u64(|| field.to_owned())?;
        let Some(fits) = usize::try_from(count).ok().filter(|count| *count <= limit) else {
            return Err(GgufError::limit(field, count, limit));
        };
        let left = (self.bytes.len() - self.at).saturating_sub(before);
        // At most `limit * bytes_min`, both of them constants of this file: no overflow.
        if fits * bytes_min > left {
            let (needed, left) = ((fits * bytes_min) as u64, left as u64);
            return Err(GgufError::Truncated {
                field: field.to_owned(),
                needed,
                left,
            });
        }
        Ok(fits)
    }

    /// Walks over good strings, at most so many; returns how many there were.
    pub(super) fn skip_strings(&mut self, count: usize, limit: usize) -> usize {
        let mut rest = &self.bytes[self.at..];
        for index in 0..count {
            let next = rest.split_first_chunk::<8>().and_then(|(length, rest)| {
                let length = u64::from_le_bytes(*length);
                let short = length <= limit as u64;
                let (text, rest) = short.then(|| rest.split_at_checked(length as usize))??;
                (text.is_ascii() || std::str::from_utf8(text).is_ok()).then_some(rest)
            });
            let Some(next) = next else { return index };
            self.at = self.bytes.len() - next.len();
            rest = next;
        }
        count
    }

    pub(super) fn string(
        &mut self,
        limit: usize,
        field: impl Fn() -> String,
    ) -> Result<&'a str, GgufError> {
        let length = self.u64(|| format!("{} length", field()))?;
        let Some(length) = usize::try_from(length)
            .ok()
            .filter(|length| *length <= limit)
        else {
            return Err(GgufError::limit(
                format!("{} length", field()),
                length,
                limit,
            ));
        };
        let text = self.take(length, &field)?;
        std::str::from_utf8(text).map_err(|error| GgufError::NotUtf8 {
            field: field(),
            at: error.valid_up_to(),
        })
    }
}
