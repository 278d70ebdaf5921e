//! Text in any split: the same characters, and nothing of a stop string.

use super::*;
use proptest::prelude::*;

fn strings(stops: &[&str]) -> Vec<String> {
    stops.iter().map(|stop| (*stop).to_owned()).collect()
}

#[test]
fn the_text_ends_before_the_first_stop_string_that_is_complete() {
    let cases: &[(&str, &[&str], &str, Option<usize>)] = &[
        ("hello world", &[], "hello world", None),
        ("hello world", &[" w"], "hello", Some(0)),
        ("hello world", &["xyz", "lo"], "hel", Some(1)),
        ("abcd", &["abcd", "bc"], "a", Some(1)),
        ("abcd", &["cd", "abcd"], "", Some(1)),
        ("aab", &["ab"], "a", Some(0)),
        ("ababac", &["abac"], "ab", Some(0)),
        ("stop", &["stop"], "", Some(0)),
        ("sto", &["stop"], "sto", None),
        ("anything", &[""], "anything", None),
        ("één", &["é"], "", Some(0)),
    ];
    for (text, stops, expected, index) in cases {
        let mut scan = StopScan::new(&strings(stops));
        let stop = scan.push(text.as_bytes());
        assert_eq!(stop.map(|stop| stop.index), *index, "{text:?} {stops:?}");
        assert_eq!(
            text_of(text.as_bytes(), &strings(stops)),
            *expected,
            "{text:?} {stops:?}"
        );
    }
}

#[test]
fn what_may_be_a_stop_string_is_held_back_and_comes_if_it_is_none() {
    let mut stream = TextStream::new(&strings(&["<end>"]));
    assert_eq!(stream.push(b"say <en"), "say ");
    assert_eq!(stream.push(b"d of it"), "<end of it");
    assert_eq!(stream.push(b" <e"), " ");
    assert_eq!(stream.finish(), "<e");
}

#[test]
fn nothing_comes_after_a_stop_string() {
    let mut stream = TextStream::new(&strings(&["\n\n"]));
    assert_eq!(stream.push(b"one\n"), "one");
    assert_eq!(stream.push(b"\ntwo"), "");
    assert_eq!(stream.stop().map(|stop| stop.ends), Some(5));
    assert_eq!(stream.push(b"three"), "");
    assert_eq!(stream.finish(), "");
}

#[test]
fn a_character_is_never_shown_in_part() {
    let mut stream = TextStream::new(&[]);
    assert_eq!(stream.push(&[0xF0, 0x9F]), "");
    assert_eq!(stream.push(&[0x90]), "");
    assert_eq!(stream.push(&[0x8E, b'!']), "🐎!");
    assert_eq!(stream.push(&[0xC3]), "");
    assert_eq!(stream.push(b"x"), "\u{FFFD}x");
    assert_eq!(stream.push(&[0xE2, 0x82]), "");
    assert_eq!(
        stream.finish(),
        "",
        "a character that never came is no character"
    );
}

#[test]
fn a_stop_string_that_begins_inside_a_broken_character_still_stops() {
    let bytes = [b'a', 0xE2, 0x82, b'S', b'T'];
    assert_eq!(text_of(&bytes, &strings(&["ST"])), "a");
    let mut stream = TextStream::new(&strings(&["ST"]));
    let text: String = bytes.iter().map(|byte| stream.push(&[*byte])).collect();
    assert_eq!(text + &stream.finish(), "a");
}

/// Few letters, so that stop strings are met often; lead and continuation bytes, so that characters break.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        6 => prop_oneof![Just(b'a'), Just(b'b'), Just(b'c')],
        1 => prop_oneof![Just(0xC3), Just(0xA9), Just(0xE2), Just(0x82), Just(0xAC), Just(0xF0), Just(0xFF)],
    ];
    proptest::collection::vec(byte, 0..40)
}

fn stops() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[abcé]{1,5}", 0..4)
}

/// The meaning of a stop, written to be obviously right: the shortest beginning that ends with one of them.
fn first_stop(bytes: &[u8], stops: &[String]) -> Option<(usize, usize)> {
    (1..=bytes.len()).find_map(|end| {
        let ending = stops
            .iter()
            .filter(|stop| bytes[..end].ends_with(stop.as_bytes()));
        let longest = ending.map(|stop| stop.len()).max()?;
        Some((end - longest, end))
    })
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_text(
        bytes in bytes(), stops in stops(), cuts in proptest::collection::vec(1usize..6, 0..40),
    ) {
        let mut stream = TextStream::new(&stops);
        let mut text = String::new();
        let mut rest = bytes.as_slice();
        let mut seen = 0;
        let longest = stops.iter().map(|stop| stop.len()).max().unwrap_or(0);
        for cut in cuts.into_iter().chain(std::iter::repeat(bytes.len().max(1))) {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            rest = after;
            seen += piece.len();
            text.push_str(&stream.push(piece));
            // What is held back is bounded, and what was shown stays a beginning of the whole.
            prop_assert!(stream.held.len() < longest.max(1));
            prop_assert!(text_of(&bytes[..seen], &stops).starts_with(&text));
            prop_assert!(text_of(&bytes, &stops).starts_with(&text));
        }
        text.push_str(&stream.finish());
        prop_assert_eq!(&text, &text_of(&bytes, &stops));
        for stop in &stops {
            prop_assert!(!text.contains(stop.as_str()), "{:?} is in {:?}", stop, text);
        }
    }

    #[test]
    fn the_scan_finds_what_a_plain_search_finds(bytes in bytes(), stops in stops()) {
        let mut scan = StopScan::new(&stops);
        let found = scan.push(&bytes).map(|stop| (stop.begins as usize, stop.ends as usize));
        prop_assert_eq!(found, first_stop(&bytes, &stops));
    }

    #[test]
    fn without_stop_strings_the_text_is_the_lossy_text(bytes in bytes()) {
        let mut whole = bytes.clone();
        // An ordinary character after them makes every broken one certain.
        whole.push(b'.');
        prop_assert_eq!(text_of(&whole, &[]), String::from_utf8_lossy(&whole));
    }
}
