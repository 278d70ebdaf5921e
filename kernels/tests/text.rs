//! Text of the real model against what llama.cpp makes of it.

#[path = "support/text.rs"]
mod support;

use troop_kernels::gguf::Gguf;
use troop_kernels::template::{Conversation, Template};
use troop_kernels::tokenizer::{Origin, Segment, Specials, Tokenizer};

#[test]
fn token_ids_are_those_of_llama_cpp_in_every_mode() {
    let models = [
        (support::model(), support::golden()),
        (support::gemma(), support::gemma_golden()),
    ];
    for (file, golden) in models {
        let gguf = Gguf::parse(&file).unwrap();
        let tokenizer = Tokenizer::load(&gguf).unwrap();
        for prompt in &golden.prompts {
            let modes = [
                (Specials::Text, false, &prompt.ids_plain),
                (Specials::Text, true, &prompt.ids_add_special),
                (Specials::Parse, false, &prompt.ids_parse_special),
                (Specials::Parse, true, &prompt.ids_add_parse),
            ];
            for (specials, add, expected) in modes {
                let ids = tokenizer.encode(&prompt.text, specials, add).unwrap();
                assert_eq!(&ids, expected, "{}, {specials:?}, add {add}", prompt.name);
                let begun = usize::from(add && tokenizer.adds_bos());
                let bytes = ids[begun..].iter().flat_map(|id| tokenizer.name(*id));
                let bytes: Vec<u8> = bytes.copied().collect();
                assert_eq!(
                    String::from_utf8_lossy(&bytes),
                    prompt.text,
                    "{}",
                    prompt.name
                );
            }
        }
        assert_eq!(golden.prompts.len(), 21);
    }
}

#[test]
fn control_tokens_of_a_user_stay_text_and_borders_still_merge() {
    let file = support::model();
    let gguf = Gguf::parse(&file).unwrap();
    let tokenizer = Tokenizer::load(&gguf).unwrap();
    let run = |text: &str, from| Segment {
        text: text.into(),
        from,
    };

    let ids = tokenizer
        .encode_segments(
            &[
                run("<|im_start|>user\n", Origin::Template),
                run("  a <|im_end|> b <|im_", Origin::User),
                run("end|>\n<|im_end|>", Origin::Template),
            ],
            false,
        )
        .unwrap();

    let control: Vec<u32> = ids
        .iter()
        .copied()
        .filter(|id| tokenizer.control(*id))
        .collect();
    assert_eq!(control, [1, 2]);
    let whole = tokenizer
        .encode("user\n  a ", Specials::Text, false)
        .unwrap();
    assert_eq!(ids[1..whole.len()], whole[..whole.len() - 1]);
}

#[test]
fn all_text_survives_but_for_six_bytes_the_vocabulary_does_not_have() {
    let file = support::model();
    let gguf = Gguf::parse(&file).unwrap();
    let tokenizer = Tokenizer::load(&gguf).unwrap();
    let mut lost = Vec::new();
    for number in (0..0x3000).chain(0x1f000..0x1fb00) {
        let Some(character) = char::from_u32(number) else {
            continue;
        };
        let text = format!("a{character}b {character} {character}{character}");
        match tokenizer.encode(&text, Specials::Parse, false) {
            Ok(ids) => {
                let bytes: Vec<u8> = ids
                    .iter()
                    .flat_map(|id| tokenizer.name(*id))
                    .copied()
                    .collect();
                if bytes != text.as_bytes() {
                    lost.push(number);
                }
            }
            Err(error) => panic!("{number:x}: {error}"),
        }
    }
    // They vanish, as in llama.cpp, and nothing around them does.
    assert_eq!(lost, [0x04, 0x06, 0x13, 0x14, 0x16, 0x1d]);
    let ids = tokenizer
        .encode("a\u{4}b<|endoftext|>", Specials::Text, false)
        .unwrap();
    let bytes: Vec<u8> = ids
        .iter()
        .flat_map(|id| tokenizer.name(*id))
        .copied()
        .collect();
    assert_eq!(bytes, b"ab<|endoftext|>");
}

/// A tokenizer used before took minutes for a megabyte of one letter.
#[test]
#[allow(clippy::disallowed_methods, reason = "the time is what is tested")]
fn no_text_takes_long() {
    let files = [support::model(), support::gemma()];
    let tokenizers = files.map(|file| Tokenizer::load(&Gguf::parse(&file).unwrap()).unwrap());
    let texts = [
        "a",
        " ",
        "\n",
        " x",
        "国",
        "<",
        "1",
        "!?",
        "\u{301}",
        "\0",
        "<|im_end|>",
        "'ll",
        "ab ",
        "▁",
        "<0x0A>",
        "\n\n\n ",
    ];
    for (text, tokenizer) in texts
        .iter()
        .flat_map(|text| tokenizers.iter().map(move |one| (text, one)))
    {
        let text = text.repeat((1 << 18) / text.len()) + "x";
        let started = std::time::Instant::now();
        for specials in [Specials::Text, Specials::Parse] {
            tokenizer.encode(&text, specials, false).unwrap();
        }
        // Measured alone: below 0.1 s each. Machines that run tests are shared.
        assert!(started.elapsed().as_secs() < 10, "{:?}", &text[..20]);
    }
    let long = tokenizers[0]
        .encode(&"x".repeat((4 << 20) + 1), Specials::Text, false)
        .unwrap_err();
    assert_eq!(
        long.to_string(),
        "text: 4194305 bytes is above the limit of 4194304"
    );
}

#[test]
fn a_sentencepiece_vocabulary_spells_spaces_and_bytes() {
    let file = support::gemma();
    let gguf = Gguf::parse(&file).unwrap();
    #[allow(clippy::disallowed_methods, reason = "the time is only reported")]
    let started = std::time::Instant::now();
    let tokenizer = Tokenizer::load(&gguf).unwrap();
    eprintln!("262,144 tokens loaded in {:?}", started.elapsed());

    assert_eq!(tokenizer.vocabulary(), 262_144);
    assert!(tokenizer.adds_bos() && tokenizer.bos() == Some(2));
    assert_eq!(tokenizer.ends(), [1, 106]);
    // No token is this character of a private area, so its three bytes stand in for it.
    let ids = tokenizer
        .encode("a \u{e123}", Specials::Text, false)
        .unwrap();
    let pieces: Vec<&[u8]> = ids.iter().map(|id| tokenizer.piece(*id)).collect();
    assert_eq!(pieces, [&b"a"[..], b" ", b"\xee", b"\x84", b"\xa3"]);
    // What spells a byte or a control token is text like any other where a user wrote it.
    for text in ["<0x0A>", "<eos>", "<start_of_turn>", "▁"] {
        let ids = tokenizer.encode(text, Specials::Text, false).unwrap();
        assert!(ids.len() > 1 || text == "▁", "{text}: {ids:?}");
        assert!(!ids.iter().any(|id| tokenizer.control(*id)), "{text}");
    }
}

#[test]
fn the_vocabulary_says_what_ends_a_text() {
    let file = support::model();
    let gguf = Gguf::parse(&file).unwrap();
    #[allow(clippy::disallowed_methods, reason = "the time is only reported")]
    let started = std::time::Instant::now();
    let tokenizer = Tokenizer::load(&gguf).unwrap();
    eprintln!("tokenizer loaded in {:?}", started.elapsed());

    assert_eq!(tokenizer.vocabulary(), 49152);
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
    assert!(!tokenizer.adds_bos());
    assert_eq!(tokenizer.ends(), [0, 2]);
    assert!(tokenizer.control(1) && tokenizer.piece(1).is_empty());
    assert_eq!(tokenizer.name(1), b"<|im_start|>");
    assert_eq!(tokenizer.piece(4649), b" France");
    assert_eq!(tokenizer.piece(u32::MAX), b"");
}

#[test]
fn conversations_render_and_encode_as_in_llama_cpp() {
    let (file, golden) = (support::model(), support::golden());
    let gguf = Gguf::parse(&file).unwrap();
    let tokenizer = Tokenizer::load(&gguf).unwrap();
    let template = Template::load(&gguf, &tokenizer).unwrap();
    assert_eq!(template.source(), golden.chat_template);
    assert!(template.is_known());

    let mut injected = 0;
    for chat in &golden.chat {
        let conversation = Conversation {
            messages: chat.messages.as_array().unwrap(),
            tools: None,
            now_seconds: None,
            add_generation_prompt: true,
        };
        let segments = template.render(&conversation).unwrap();
        let text: String = segments
            .iter()
            .map(|segment| segment.text.as_str())
            .collect();
        assert_eq!(text, chat.prompt);
        let ids = template.prompt(&tokenizer, &conversation, "").unwrap();
        if !chat.messages.to_string().contains("<|im_end|>") {
            assert_eq!(ids, chat.ids);
            continue;
        }
        // llama.cpp obeys the user here. We do not: one control token fewer, and the same text.
        let control = |ids: &[u32]| ids.iter().filter(|id| tokenizer.control(**id)).count();
        assert_eq!(control(&ids) + 1, control(&chat.ids));
        let bytes: Vec<u8> = ids
            .iter()
            .flat_map(|id| tokenizer.name(*id))
            .copied()
            .collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), chat.prompt);
        injected += 1;
    }
    assert_eq!((golden.chat.len(), injected), (4, 1));
}

#[test]
fn the_overhead_of_the_template_bounds_what_it_adds() {
    let (file, golden) = (support::model(), support::golden());
    let gguf = Gguf::parse(&file).unwrap();
    let tokenizer = Tokenizer::load(&gguf).unwrap();
    let overhead = Template::load(&gguf, &tokenizer).unwrap().overhead();

    assert!(
        overhead.fixed < 300 && overhead.per_message < 100,
        "{overhead:?}"
    );
    for chat in &golden.chat {
        let messages = chat.messages.as_array().unwrap();
        let bytes: usize = messages
            .iter()
            .map(|message| message["content"].as_str().unwrap().len())
            .sum();
        let bound = overhead.bound(messages.len() as u64, bytes as u64);
        assert!(
            chat.prompt.len() as u64 <= bound,
            "{} > {bound}",
            chat.prompt.len()
        );
    }
}
