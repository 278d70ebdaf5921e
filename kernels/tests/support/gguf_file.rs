//! Writes model files; nothing is checked, so that they can be wrong.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

/// A model file under construction.
#[derive(Clone)]
pub struct File {
    version: u32,
    keys: Option<u64>,
    tensors: Option<u64>,
    metadata: Vec<Vec<u8>>,
    descriptions: Vec<Vec<u8>>,
    data: Vec<u8>,
}

impl File {
    pub fn new() -> Self {
        Self {
            version: 3,
            keys: None,
            tensors: None,
            metadata: Vec::new(),
            descriptions: Vec::new(),
            data: Vec::new(),
        }
    }

    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// The number of keys the file claims.
    pub fn keys(mut self, count: u64) -> Self {
        self.keys = Some(count);
        self
    }

    /// The number of tensors the file claims.
    pub fn count(mut self, count: u64) -> Self {
        self.tensors = Some(count);
        self
    }

    pub fn value(mut self, key: &str, kind: u32, bytes: &[u8]) -> Self {
        let mut entry = string(key);
        entry.extend(kind.to_le_bytes());
        entry.extend(bytes);
        self.metadata.push(entry);
        self
    }

    /// A key of any bytes.
    pub fn raw_key(mut self, key: &[u8], kind: u32, bytes: &[u8]) -> Self {
        let mut entry = (key.len() as u64).to_le_bytes().to_vec();
        entry.extend(key);
        entry.extend(kind.to_le_bytes());
        entry.extend(bytes);
        self.metadata.push(entry);
        self
    }

    pub fn word(self, key: &str, word: u32) -> Self {
        self.value(key, 4, &word.to_le_bytes())
    }

    pub fn float(self, key: &str, float: f32) -> Self {
        self.value(key, 6, &float.to_le_bytes())
    }

    pub fn text(self, key: &str, text: &str) -> Self {
        self.value(key, 8, &string(text))
    }

    pub fn raw_array(self, key: &str, kind: u32, count: u64, bytes: &[u8]) -> Self {
        let mut value = kind.to_le_bytes().to_vec();
        value.extend(count.to_le_bytes());
        value.extend(bytes);
        self.value(key, 9, &value)
    }

    pub fn strings(self, key: &str, strings: &[&str]) -> Self {
        let bytes: Vec<u8> = strings.iter().flat_map(|text| string(text)).collect();
        self.raw_array(key, 8, strings.len() as u64, &bytes)
    }

    /// Describes a tensor; small ones of f32 also get their bytes, all zeros.
    pub fn tensor(mut self, name: &str, shape: &[u64], format: u32, offset: u64) -> Self {
        self.describe(name, shape, format, offset);
        if shape.iter().all(|length| *length < 100) && offset < 10 << 20 {
            let bytes: u64 = shape.iter().product::<u64>() * 4;
            let end = (offset.min(4 << 20) + bytes) as usize;
            self.data.resize(self.data.len().max(end), 0);
        }
        self
    }

    /// Describes a tensor and stores its bytes after those before it.
    pub fn stored(mut self, name: &str, shape: &[u64], format: u32, bytes: &[u8]) -> Self {
        let offset = self.data.len().next_multiple_of(32);
        self.describe(name, shape, format, offset as u64);
        self.data.resize(offset, 0);
        self.data.extend(bytes);
        self
    }

    fn describe(&mut self, name: &str, shape: &[u64], format: u32, offset: u64) {
        let mut entry = string(name);
        entry.extend((shape.len() as u32).to_le_bytes());
        entry.extend(shape.iter().flat_map(|length| length.to_le_bytes()));
        entry.extend(format.to_le_bytes());
        entry.extend(offset.to_le_bytes());
        self.descriptions.push(entry);
    }

    pub fn done(self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        let tensors = self.tensors.unwrap_or(self.descriptions.len() as u64);
        file.extend(tensors.to_le_bytes());
        let keys = self.keys.unwrap_or(self.metadata.len() as u64);
        file.extend(keys.to_le_bytes());
        let entries = self.metadata.iter().chain(&self.descriptions);
        entries.for_each(|entry| file.extend(entry));
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(self.data);
        file
    }
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}
