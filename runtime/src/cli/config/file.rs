//! The file: read with a place for everything that is wrong, and changed without touching the rest.

use super::super::fault::Fault;
use super::keys::{self, Key};
use std::fs;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml_edit::{Array, Document, DocumentMut, Item, Table, TomlError, Value};

/// What stands in the file.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    pub(super) entries: Vec<Entry>,
    /// What is wrong, each with its place.
    pub(super) wrong: Vec<Fault>,
    /// Keys that nobody knows, each with its place and what may have been meant.
    pub(super) strange: Vec<String>,
}

/// A key and what it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Which of the keys.
    pub(super) key: usize,
    pub(super) values: Vec<String>,
    pub(super) line: usize,
}

impl ConfigFile {
    /// Reads `given`, which must be there, or `usual`, which need not.
    pub(super) fn read(
        given: Option<&Path>,
        usual: &Path,
        keys: &[Key],
    ) -> Result<ConfigFile, Fault> {
        let path = given.unwrap_or(usual);
        match text(path) {
            Ok(text) => Ok(ConfigFile::parse(path, &text, keys)),
            Err(error) if given.is_none() && error.kind() == io::ErrorKind::NotFound => {
                Ok(ConfigFile {
                    path: path.to_owned(),
                    ..ConfigFile::default()
                })
            }
            Err(error) => Err(unread(path, error)),
        }
    }

    fn parse(path: &Path, text: &str, keys: &[Key]) -> ConfigFile {
        let mut file = ConfigFile {
            path: path.to_owned(),
            ..ConfigFile::default()
        };
        let place = Places { path, text };
        match Document::parse(text) {
            Ok(document) => file.table(None, document.as_table(), keys, &place),
            Err(error) => file.wrong.push(place.broken(&error)),
        }
        file
    }

    fn table(&mut self, section: Option<&str>, table: &Table, keys: &[Key], place: &Places<'_>) {
        for (word, item) in table.iter() {
            let span = table.key(word).and_then(toml_edit::Key::span);
            if let (None, Item::Table(below)) = (section, item)
                && keys.iter().any(|key| key.section == Some(word))
            {
                self.table(Some(word), below, keys, place);
                continue;
            }
            let name = match section {
                Some(section) => format!("{section}.{word}"),
                None => word.to_owned(),
            };
            let Some(index) = keys.iter().position(|key| key.name == name) else {
                let at = place.of(span);
                let near = keys::nearest(keys, &name);
                let near = near.map(|near| format!("; did you mean {near}?"));
                let near = near.unwrap_or_default();
                self.strange
                    .push(format!("{at}: there is no key {name:?}{near}"));
                continue;
            };
            let values = item.as_value().ok_or("it is no table".to_owned());
            let values = values.and_then(|value| words(value, &keys[index]));
            let values = values.and_then(|values| keys[index].check(&values).map(|()| values));
            match values {
                Ok(values) => self.entries.push(Entry {
                    key: index,
                    values,
                    line: place.line_column(span).0,
                }),
                Err(what) => {
                    let span = item.span().or(span);
                    self.wrong
                        .push(place.fault(span, &format!("{name}: {what}")));
                }
            }
        }
    }
}

/// A value as the words of a flag.
fn words(value: &Value, key: &Key) -> Result<Vec<String>, String> {
    match value {
        Value::Array(items) if key.is_list() => items.iter().map(word).collect::<Result<_, _>>(),
        Value::Array(_) => Err("it has one value".to_owned()),
        value => Ok(vec![word(value)?]),
    }
}

fn word(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.value().clone()),
        Value::Integer(number) => Ok(number.value().to_string()),
        Value::Float(number) => Ok(number.value().to_string()),
        Value::Boolean(switch) => Ok(switch.value().to_string()),
        _ => Err("it is a text, a number, or true or false".to_owned()),
    }
}

/// Where things stand in a text.
struct Places<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Places<'_> {
    fn line_column(&self, span: Option<Range<usize>>) -> (usize, usize) {
        let start = span.map_or(0, |span| span.start.min(self.text.len()));
        let before = self.text.get(..start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        (line, column)
    }

    fn of(&self, span: Option<Range<usize>>) -> String {
        let (line, column) = self.line_column(span);
        format!("{}:{line}:{column}", self.path.display())
    }

    fn fault(&self, span: Option<Range<usize>>, what: &str) -> Fault {
        let (line, _) = self.line_column(span.clone());
        let shown = self.text.lines().nth(line - 1).unwrap_or_default().trim();
        Fault::usage(format!("{}: {what}", self.of(span)))
            .because(format_args!("it says: {shown}"))
            .hint("troop config check")
    }

    fn broken(&self, error: &TomlError) -> Fault {
        self.fault(
            error.span(),
            error.message().lines().next().unwrap_or_default(),
        )
    }
}

/// Writes a key, or takes it out; everything else, comments too, stays as it is.
pub(super) fn change(path: &Path, key: &Key, values: Option<&[String]>) -> Result<(), Fault> {
    // A link stays a link: what it leads to is changed.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let text = match text(&real) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(unread(path, error)),
    };
    let place = Places { path, text: &text };
    let mut document: DocumentMut = text.parse().map_err(|error| place.broken(&error))?;
    let mut table = document.as_table_mut();
    if let Some(section) = key.section {
        let below = table.entry(section).or_insert_with(toml_edit::table);
        table = below
            .as_table_mut()
            .ok_or_else(|| Fault::usage(format!("{}: {section} is no section", path.display())))?;
    }
    match values {
        Some(values) => {
            let mut value = toml(key, values);
            // Comments before the key and behind its value are about the key, and stay.
            match table.get_mut(key.word()) {
                Some(item) => {
                    if let Some(old) = item.as_value() {
                        *value.decor_mut() = old.decor().clone();
                    }
                    *item = Item::Value(value);
                }
                None => {
                    table.insert(key.word(), Item::Value(value));
                }
            }
        }
        None => {
            table.remove(key.word());
        }
    }
    write(&real, &document.to_string()).map_err(|error| {
        Fault::failed(format!("{} cannot be written", path.display())).because(error)
    })
}

/// Words of a flag as what they look like.
fn toml(key: &Key, values: &[String]) -> Value {
    let one = |text: &String| -> Value {
        match text.parse::<i64>() {
            _ if key.is_switch() => (text == "true").into(),
            Ok(number) if number.to_string() == *text => number.into(),
            _ => match text.parse::<f64>() {
                Ok(number) if number.is_finite() && number.to_string() == *text => number.into(),
                _ => text.as_str().into(),
            },
        }
    };
    match key.is_list() {
        true => Value::Array(values.iter().map(one).collect::<Array>()),
        false => values.first().map_or_else(|| "".into(), one),
    }
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = fs::File::open(path)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other(format!(
            "it has more than {FILE_BYTES_MAX} bytes"
        ))),
        false => Ok(text),
    }
}

fn unread(path: &Path, error: io::Error) -> Fault {
    Fault::usage(format!("{} cannot be read", path.display()))
        .because(error)
        .hint("troop config path")
}

/// For its owner alone, whole or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let half = path.with_extension("toml.new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&half)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&half, path)
}

/// A file that people write by hand has no more.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::super::super::Line;
    use super::*;
    use clap::CommandFactory;

    fn parse(text: &str) -> (ConfigFile, Vec<Key>) {
        let keys = keys::all(&Line::command());
        (ConfigFile::parse(Path::new("c.toml"), text, &keys), keys)
    }

    #[test]
    fn what_is_wrong_has_its_place_and_what_is_strange_a_suggestion() {
        let wrong = [
            ("color = \"pink\"", "c.toml:1:9: color: invalid value 'pink"),
            (
                "\n[node]\nthreads = \"many\"",
                "c.toml:3:11: node.threads: ",
            ),
            ("[node]\nthreads = 0", "c.toml:2:11: node.threads: "),
            (
                "[run]\ntemperature = [1, 2]",
                "c.toml:2:15: run.temperature: it has one",
            ),
            ("quiet = \"yes\"", "c.toml:1:9: quiet: it is true or false"),
            ("[timeout]", "c.toml:1:1: timeout: it is no table"),
            ("color = ", "c.toml:1:9: "),
            ("color = \"never\"\ncolor = \"auto\"", "c.toml:2:1: "),
        ];
        for (text, words) in wrong {
            let (file, _) = parse(text);
            let said = file.wrong.first().map(|fault| fault.what().to_owned());
            let said = said.unwrap_or_else(|| panic!("{text}"));
            assert!(said.starts_with(words), "{text}: {said}");
        }
        let strange = [
            (
                "colour = 1",
                "c.toml:1:1: there is no key \"colour\"; did you mean color?",
            ),
            ("[node]\nlitsen = 1", "did you mean node.listen?"),
            ("listen = \"x\"", "did you mean node.listen?"),
            ("[nod]\nlisten = 1", "there is no key \"nod\""),
            ("[node]\njoin = \"secret\"", "there is no key \"node.join\""),
        ];
        for (text, words) in strange {
            let (file, _) = parse(text);
            assert!(file.wrong.is_empty() && file.entries.is_empty(), "{text}");
            assert!(
                file.strange[0].contains(words),
                "{text}: {:?}",
                file.strange
            );
        }
    }

    #[test]
    fn every_kind_of_value_is_the_words_of_its_flag() {
        let (file, keys) = parse(
            "no_progress = true\ntimeout = 30\n[node]\nlisten = ['127.0.0.1:1', '127.0.0.1:2']\n\
             model = 'smollm2'\n[run]\ntemperature = 0.2\nstop = ['END']\nseed = 7",
        );
        assert!(file.wrong.is_empty() && file.strange.is_empty(), "{file:?}");
        let entries = file.entries.iter();
        let entries: Vec<_> = entries
            .map(|entry| {
                format!(
                    "{}={}:{}",
                    keys[entry.key].name,
                    entry.values.join(","),
                    entry.line
                )
            })
            .collect();
        let expected = [
            "no_progress=true:1",
            "timeout=30:2",
            "node.listen=127.0.0.1:1,127.0.0.1:2:4",
            "node.model=smollm2:5",
            "run.temperature=0.2:7",
            "run.stop=END:8",
            "run.seed=7:9",
        ];
        assert_eq!(entries, expected);
    }
}
