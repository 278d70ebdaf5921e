//! The narrow JSON of tickets: an object of strings, unsigned integers and objects of one level, each name
//! once, no whitespace, plain ASCII strings without escapes. Borrows from its input and recurses nowhere.

use super::JsonFault;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Text.
    Text(&'a str),
    /// An integer.
    Number(u64),
    /// An object inside the object.
    Object(Vec<(&'a str, Value<'a>)>),
    /// Something that JSON has and no ticket: an array, `null`, `true`, a fraction.
    Other,
}

/// The members of the object that `bytes` are, in their order; or where and how they are not one.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<(&str, Value<'_>)>, (usize, JsonFault)> {
    let mut reader = Reader { bytes, at: 0 };
    let members = reader.object(true).map_err(|fault| (reader.at, fault))?;
    match bytes.len() == reader.at {
        true => Ok(members),
        false => Err((reader.at, JsonFault::Trailing)),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// An object; only the `outer` one may have objects in it.
    fn object(&mut self, outer: bool) -> Result<Vec<(&'a str, Value<'a>)>, JsonFault> {
        self.expect(b'{')?;
        let mut members: Vec<(&str, Value)> = Vec::new();
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(members);
        }
        loop {
            if members.len() == MEMBERS_MAX {
                return Err(JsonFault::TooMany);
            }
            let name = self.string()?;
            if members.iter().any(|(other, _)| *other == name) {
                return Err(JsonFault::Duplicate);
            }
            self.expect(b':')?;
            let value = self.value(outer)?;
            members.push((name, value));
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(members);
                }
                _ => return Err(JsonFault::Unexpected),
            }
        }
    }

    fn value(&mut self, outer: bool) -> Result<Value<'a>, JsonFault> {
        match self.peek()? {
            b'"' => Ok(Value::Text(self.string()?)),
            b'{' if outer => Ok(Value::Object(self.object(false)?)),
            b'0'..=b'9' | b'-' => self.number(),
            b'[' | b'n' | b't' | b'f' => self.other(),
            _ => Err(JsonFault::Unexpected),
        }
    }

    fn number(&mut self) -> Result<Value<'a>, JsonFault> {
        let from = self.at;
        while let Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
        }
        let digits = &self.bytes[from..self.at];
        let padded = digits.len() > 1 && digits[0] == b'0';
        let integer = digits.iter().try_fold(0u64, |value, digit| {
            let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
            value.checked_mul(10)?.checked_add(digit)
        });
        match integer {
            Some(integer) if !padded => Ok(Value::Number(integer)),
            _ => Err(JsonFault::Number),
        }
    }

    /// Steps over `null`, `true`, `false` or an array without strings, so that the member is named in the
    /// refusal; whatever it really was, it is refused.
    fn other(&mut self) -> Result<Value<'a>, JsonFault> {
        while !matches!(self.peek()?, b',' | b'}') {
            self.at += 1;
        }
        Ok(Value::Other)
    }

    fn string(&mut self) -> Result<&'a str, JsonFault> {
        self.expect(b'"')?;
        let from = self.at;
        loop {
            match self.peek()? {
                b'"' => break,
                b' '..=b'~' if self.bytes[self.at] != b'\\' => self.at += 1,
                _ => return Err(JsonFault::String),
            }
        }
        let text = std::str::from_utf8(&self.bytes[from..self.at]);
        self.at += 1;
        text.map_err(|_| JsonFault::String)
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonFault> {
        if self.peek()? != byte {
            return Err(JsonFault::Unexpected);
        }
        self.at += 1;
        Ok(())
    }

    fn peek(&self) -> Result<u8, JsonFault> {
        self.bytes.get(self.at).copied().ok_or(JsonFault::End)
    }
}

/// Members of one object, at most; a ticket has 18.
const MEMBERS_MAX: usize = 32;
