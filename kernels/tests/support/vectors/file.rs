//! The vectors' files: cases, their arrays, and the text they are written as. vectors/README.md says the
//! same in words.

#![allow(dead_code, unreachable_pub, reason = "a module of test binaries")]

use std::fmt::Write;

use half::f16;

/// One computation: what goes in, and the bits that must come out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Case {
    pub name: String,
    pub inputs: Vec<Array>,
    pub outputs: Vec<Array>,
}

/// A named run of numbers of one kind, as bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub name: String,
    pub kind: &'static str,
    pub bits: Vec<u64>,
}

/// What an array may be of.
pub trait Element: Copy {
    const KIND: &'static str;
    fn bits(self) -> u64;
    fn from_bits(bits: u64) -> Self;
}

macro_rules! elements {
    ($($type:ty, $kind:literal, $to:expr, $from:expr;)*) => {$(
        impl Element for $type {
            const KIND: &'static str = $kind;
            fn bits(self) -> u64 {
                $to(self)
            }
            fn from_bits(bits: u64) -> Self {
                $from(bits)
            }
        }
    )*};
}

elements! {
    u8, "u8", |x: u8| x.into(), |bits| bits as u8;
    i8, "i8", |x: i8| (x as u8).into(), |bits| bits as i8;
    f16, "f16", |x: f16| x.to_bits().into(), |bits| f16::from_bits(bits as u16);
    u32, "u32", |x: u32| x.into(), |bits| bits as u32;
    i32, "i32", |x: i32| (x as u32).into(), |bits| bits as i32;
    f32, "f32", |x: f32| x.to_bits().into(), |bits| f32::from_bits(bits as u32);
    u64, "u64", |x: u64| x, |bits| bits;
    f64, "f64", |x: f64| x.to_bits(), f64::from_bits;
}

/// Every kind and its hexadecimal digits.
const KINDS: [(&str, usize); 8] = [
    ("u8", 2),
    ("i8", 2),
    ("f16", 4),
    ("u32", 8),
    ("i32", 8),
    ("f32", 8),
    ("u64", 16),
    ("f64", 16),
];
/// Digits in a line; a whole number of elements of every kind.
const LINE: usize = 96;

impl Array {
    pub fn of<T: Element>(name: &str, values: &[T]) -> Self {
        Self {
            name: name.to_owned(),
            kind: T::KIND,
            bits: values.iter().map(|value| value.bits()).collect(),
        }
    }

    fn digits(&self) -> usize {
        let kind = KINDS.iter().find(|kind| kind.0 == self.kind);
        kind.expect("a known kind").1
    }
}

impl Case {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// The case with one more input.
    pub fn with<T: Element>(mut self, name: &str, values: &[T]) -> Self {
        self.inputs.push(Array::of(name, values));
        self
    }

    /// An input.
    pub fn all<T: Element>(&self, name: &str) -> Vec<T> {
        let array = self.inputs.iter().find(|array| array.name == name);
        let array = array.unwrap_or_else(|| panic!("{} has no {name}", self.name));
        assert_eq!(array.kind, T::KIND, "{} {name}", self.name);
        array.bits.iter().map(|bits| T::from_bits(*bits)).collect()
    }

    /// An input that is one number.
    pub fn one<T: Element>(&self, name: &str) -> T {
        let values = self.all(name);
        assert_eq!(values.len(), 1, "{} {name}", self.name);
        values[0]
    }

    /// An input that is a count.
    pub fn count(&self, name: &str) -> usize {
        self.one::<u32>(name) as usize
    }
}

/// The cases as text.
pub fn write(cases: &[Case]) -> String {
    let mut text = String::new();
    for case in cases {
        let _ = writeln!(text, "case {}", case.name);
        let sides = [("in", &case.inputs), ("out", &case.outputs)];
        for (side, array) in sides
            .iter()
            .flat_map(|(side, all)| all.iter().map(move |one| (side, one)))
        {
            let _ = writeln!(
                text,
                "{side} {} {} {}",
                array.kind,
                array.name,
                array.bits.len()
            );
            let width = array.digits();
            for line in array.bits.chunks(LINE / width) {
                text.push_str("  ");
                for bits in line {
                    let _ = write!(text, "{bits:0width$x}");
                }
                text.push('\n');
            }
        }
    }
    text
}

/// The cases of a text; an error names the line.
pub fn read(text: &str) -> Result<Vec<Case>, String> {
    let mut cases: Vec<Case> = Vec::new();
    let mut missing = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let wrong = |what: &str| Err(format!("line {number}: {what}"));
        if let Some(digits) = line.strip_prefix("  ") {
            let array = cases.last_mut().and_then(|case| {
                let outputs = case.outputs.last_mut();
                outputs.or(case.inputs.last_mut())
            });
            let Some(array) = array else {
                return wrong("numbers of no array");
            };
            for digits in digits.as_bytes().chunks(array.digits()) {
                let digits = std::str::from_utf8(digits).unwrap_or_default();
                match u64::from_str_radix(digits, 16) {
                    Ok(bits) if digits.len() == array.digits() && missing > 0 => {
                        array.bits.push(bits);
                        missing -= 1;
                    }
                    _ => return wrong("not a number, or one too many"),
                }
            }
            continue;
        }
        if missing > 0 {
            return wrong("the array before has too few numbers");
        }
        let words: Vec<&str> = line.split(' ').collect();
        match (words[0], cases.last_mut()) {
            ("case", _) => cases.push(Case::new(words[1..].join(" "))),
            (side @ ("in" | "out"), Some(case)) => {
                let &[_, kind, name, count] = words.as_slice() else {
                    return wrong("not `in` or `out`, kind, name and count");
                };
                let Some((kind, _)) = KINDS.iter().find(|one| one.0 == kind) else {
                    return wrong("an unknown kind");
                };
                let Ok(count) = count.parse() else {
                    return wrong("not a count");
                };
                missing = count;
                let array = Array {
                    name: name.to_owned(),
                    kind,
                    bits: Vec::new(),
                };
                match side {
                    "out" => case.outputs.push(array),
                    _ if case.outputs.is_empty() => case.inputs.push(array),
                    _ => return wrong("inputs come before outputs"),
                }
            }
            _ => return wrong("neither a case, nor an array, nor numbers"),
        }
    }
    match missing {
        0 => Ok(cases),
        _ => Err("the last array has too few numbers".to_owned()),
    }
}
