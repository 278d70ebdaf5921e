//! A file written by hand, read whole and cut off everywhere.

use super::*;

/// A small file written by hand: three keys, one tensor of one Q8_0 block, one of four f32.
fn small() -> Vec<u8> {
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend(2_u64.to_le_bytes());
    file.extend(3_u64.to_le_bytes());
    let text = |file: &mut Vec<u8>, text: &str| {
        file.extend((text.len() as u64).to_le_bytes());
        file.extend(text.as_bytes());
    };
    text(&mut file, "tokenizer.ggml.tokens");
    file.extend(9_u32.to_le_bytes());
    file.extend(8_u32.to_le_bytes());
    file.extend(2_u64.to_le_bytes());
    text(&mut file, "a");
    text(&mut file, "ß");
    text(&mut file, "general.architecture");
    file.extend(8_u32.to_le_bytes());
    text(&mut file, "llama");
    text(&mut file, "llama.block_count");
    file.extend(4_u32.to_le_bytes());
    file.extend(7_u32.to_le_bytes());
    text(&mut file, "second");
    for (word, wide) in [(1_u32, false), (32, true), (8, false), (0, true)] {
        file.extend(word.to_le_bytes());
        file.extend(if wide { vec![0; 4] } else { vec![] });
    }
    text(&mut file, "first");
    for (word, wide) in [(2_u32, false), (2, true), (2, true), (0, false), (64, true)] {
        file.extend(word.to_le_bytes());
        file.extend(if wide { vec![0; 4] } else { vec![] });
    }
    let data = file.len().next_multiple_of(32);
    file.resize(data + 80, 0);
    file
}

#[test]
fn a_file_says_what_was_written() {
    let file = small();

    let gguf = Gguf::parse(&file).unwrap();

    assert_eq!(gguf.architecture(), Ok("llama"));
    assert_eq!(gguf.u32("llama.block_count"), Ok(7));
    assert_eq!(gguf.u32_or("llama.vocab_size", 9), Ok(9));
    assert_eq!(
        gguf.strings("tokenizer.ggml.tokens")
            .unwrap()
            .collect::<Vec<_>>(),
        ["a", "ß"]
    );
    let first = gguf.tensor("first").unwrap();
    assert_eq!(
        (first.format, first.shape.as_slice()),
        (Format::F32, &[2, 2][..])
    );
    assert_eq!(
        first.range,
        gguf.data_offset() + 64..gguf.data_offset() + 80
    );
    assert_eq!(gguf.tensor("second").unwrap().range.len(), 34);
    assert_eq!(gguf.tensor("third"), None);
    assert_eq!(
        gguf.f32("llama.block_count").unwrap_err().field(),
        "llama.block_count"
    );
    assert!(matches!(gguf.str("absent"), Err(GgufError::Missing { .. })));
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let file = small();
    for length in 0..file.len() {
        let error = Gguf::parse(&file[..length]).unwrap_err();
        assert!(!error.field().is_empty(), "{length}: {error}");
    }
}

#[test]
fn names_are_made_safe_to_print() {
    assert_eq!(
        escaped("blk.0\u{1b}[2J\u{202e}ü"),
        "blk.0\\u{1b}[2J\\u{202e}ü"
    );
    assert!(escaped(&"x".repeat(1000)).len() < 100);
}
