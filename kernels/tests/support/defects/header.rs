//! The container: magic, counts, keys, values, arrays, alignment.

use super::{Defect, cut, plain};
use crate::gguf_file::File;

pub(super) fn defects() -> Vec<Defect> {
    vec![
        ("empty", vec![], "magic"),
        ("other magic", b"GGML\x03\0\0\0".to_vec(), "magic"),
        ("version 0", plain().version(0).done(), "version"),
        ("version 1", plain().version(1).done(), "version"),
        ("version 4", plain().version(4).done(), "version"),
        ("big-endian", plain().version(3 << 24).done(), "version"),
        ("2^63 keys", plain().keys(1 << 63).done(), "metadata count"),
        (
            "keys whose bytes wrap",
            plain().keys(u64::MAX / 13 + 2).done(),
            "metadata count",
        ),
        ("2^20 keys", plain().keys(1 << 20).done(), "metadata count"),
        (
            "keys beyond the end",
            plain().keys(4000).done(),
            "metadata count",
        ),
        (
            "2^63 tensors",
            plain().count(1 << 63).done(),
            "tensor count",
        ),
        (
            "2^60 tensors",
            plain().count(1 << 60).done(),
            "tensor count",
        ),
        (
            "tensors whose bytes wrap",
            plain().count(u64::MAX / 32 + 2).done(),
            "tensor count",
        ),
        (
            "tensors beyond the end",
            plain().count(60_000).done(),
            "tensor count",
        ),
        (
            "alignment 2^31",
            plain().word("general.alignment", 0x8000_0000).done(),
            "general.alignment",
        ),
        (
            "alignment 0",
            plain().word("general.alignment", 0).done(),
            "general.alignment",
        ),
        (
            "alignment 3",
            plain().word("general.alignment", 3).done(),
            "general.alignment",
        ),
        (
            "alignment 4",
            plain().word("general.alignment", 4).done(),
            "general.alignment",
        ),
        (
            "alignment 8192",
            plain().word("general.alignment", 8192).done(),
            "general.alignment",
        ),
        (
            "alignment of 64 bits",
            plain()
                .value("general.alignment", 10, &32_u64.to_le_bytes())
                .done(),
            "general.alignment",
        ),
        (
            "alignment as text",
            plain().text("general.alignment", "32").done(),
            "general.alignment",
        ),
        (
            "array of 2^40",
            plain().raw_array("x", 0, 1 << 40, &[]).done(),
            "x length",
        ),
        (
            "array of 2^40 in a file of 49 bytes",
            cut(File::new().raw_array("x", 0, 1 << 40, &[]).done(), 64 - 49),
            "x length",
        ),
        (
            "array whose bytes wrap",
            plain().raw_array("x", 12, 1 << 61, &[]).done(),
            "x length",
        ),
        (
            "array of 2^63",
            plain().raw_array("x", 8, 1 << 63, &[]).done(),
            "x length",
        ),
        (
            "array beyond the end",
            plain().raw_array("x", 10, 1 << 20, &[]).done(),
            "x length",
        ),
        (
            "nested array",
            plain().raw_array("x", 9, 1, &[0; 12]).done(),
            "x element type",
        ),
        (
            "arrays nested 10,000 deep",
            plain()
                .raw_array(
                    "x",
                    9,
                    1,
                    &[9_u32.to_le_bytes(), 1_u32.to_le_bytes(), [0; 4]]
                        .concat()
                        .repeat(10_000),
                )
                .done(),
            "x element type",
        ),
        (
            "array of type 13",
            plain().raw_array("x", 13, 1, &[0; 12]).done(),
            "x element type",
        ),
        (
            "value of type 13",
            plain().value("x", 13, &[0; 8]).done(),
            "x type",
        ),
        ("bool of 2", plain().value("x", 7, &[2]).done(), "x"),
        (
            "bools of 2",
            plain().raw_array("x", 7, 3, &[0, 1, 2]).done(),
            "x[2]",
        ),
        (
            "string of 2^63",
            plain().value("x", 8, &(1_u64 << 63).to_le_bytes()).done(),
            "x length",
        ),
        (
            "string beyond the end",
            plain().value("x", 8, &100_000_u64.to_le_bytes()).done(),
            "x",
        ),
        (
            "text not UTF-8",
            plain()
                .value("x", 8, &[1, 0, 0, 0, 0, 0, 0, 0, 0xff])
                .done(),
            "x",
        ),
        (
            "key not UTF-8",
            plain().raw_key(b"k\xff", 4, &[0; 4]).done(),
            "metadata 1 key",
        ),
        (
            "token not UTF-8",
            plain()
                .raw_array("x", 8, 1, &[1, 0, 0, 0, 0, 0, 0, 0, 0xc0])
                .done(),
            "x[0]",
        ),
        ("key twice", plain().word("x", 1).word("x", 1).done(), "x"),
        (
            "architecture twice",
            plain().text("general.architecture", "llama").done(),
            "general.architecture",
        ),
        (
            "key of 1025",
            plain().word(&"k".repeat(1025), 1).done(),
            "metadata 1 key length",
        ),
        (
            "architecture is a path",
            File::new().text("general.architecture", "../../etc").done(),
            "general.architecture",
        ),
        (
            "architecture is a number",
            File::new().word("general.architecture", 1).done(),
            "general.architecture",
        ),
    ]
}
