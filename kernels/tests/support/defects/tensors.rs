//! Descriptions of tensors: shapes, formats, places in the file.

use super::{Defect, cut, plain};

pub(super) fn defects() -> Vec<Defect> {
    let huge = u64::MAX;
    vec![
        (
            "dimension 2^62",
            plain().tensor("t", &[1 << 62, 1 << 62], 0, 0).done(),
            "tensor t dimension 0",
        ),
        (
            "dimension 0",
            plain().tensor("t", &[32, 0], 0, 0).done(),
            "tensor t dimension 1",
        ),
        (
            "third dimension 0",
            plain().tensor("t", &[32, 1, 0], 0, 0).done(),
            "tensor t dimension 2",
        ),
        (
            "fourth dimension 0",
            plain().tensor("t", &[32, 1, 1, 0], 0, 0).done(),
            "tensor t dimension 3",
        ),
        (
            "first dimension 0",
            plain().tensor("t", &[0], 2, 0).done(),
            "tensor t dimension 0",
        ),
        (
            "dimension 2^64-1",
            plain().tensor("t", &[huge], 0, 0).done(),
            "tensor t dimension 0",
        ),
        (
            "dimension 2^64-32",
            plain().tensor("t", &[huge - 31], 2, 0).done(),
            "tensor t dimension 0",
        ),
        (
            "dimension that padding wraps to 0",
            plain().tensor("t", &[huge - 30], 0, 0).done(),
            "tensor t dimension 0",
        ),
        (
            "dimension 2^63 in quantized blocks",
            plain().tensor("t", &[1 << 63], 8, 0).done(),
            "tensor t dimension 0",
        ),
        (
            "product wraps to 0",
            plain().tensor("t", &[1 << 32, 1 << 32], 0, 0).done(),
            "tensor t dimension 1",
        ),
        (
            "product wraps to small",
            plain().tensor("t", &[1 << 33, (1 << 31) + 1], 2, 0).done(),
            "tensor t dimension 1",
        ),
        (
            "exabyte in quantized blocks",
            plain().tensor("t", &[1 << 43, 2], 2, 0).done(),
            "tensor t data",
        ),
        (
            "sizes of two tensors that wrap together",
            plain()
                .tensor("t", &[1 << 44], 0, 0)
                .tensor("u", &[1 << 44], 0, 1 << 46)
                .done(),
            "tensor t data",
        ),
        (
            "no dimensions",
            plain().tensor("t", &[], 0, 0).done(),
            "tensor t dimension count",
        ),
        (
            "five dimensions",
            plain().tensor("t", &[1; 5], 0, 0).done(),
            "tensor t dimension count",
        ),
        (
            "half a block",
            plain().tensor("t", &[33], 2, 0).done(),
            "tensor t dimension 0",
        ),
        (
            "unknown format",
            plain().tensor("t", &[32], 4, 0).done(),
            "tensor t format",
        ),
        (
            "format 2^32-1",
            plain().tensor("t", &[32], u32::MAX, 0).done(),
            "tensor t format",
        ),
        (
            "offset beyond the file",
            plain().tensor("t", &[8], 0, 1 << 30).done(),
            "tensor t data",
        ),
        (
            "offset wraps",
            plain().tensor("t", &[8], 0, huge - 31).done(),
            "tensor t offset",
        ),
        (
            "offset and size wrap",
            plain()
                .tensor("t", &[1 << 40], 0, huge - (1 << 41) + 1)
                .done(),
            "tensor t offset",
        ),
        (
            "one byte short of a tensor",
            cut(plain().tensor("t", &[8], 0, 0).done(), 1),
            "tensor t data",
        ),
        (
            "tensor behind the end of the file",
            cut(plain().tensor("t", &[8], 0, 32).done(), 32),
            "tensor t data",
        ),
        (
            "offset between",
            plain().tensor("t", &[8], 0, 4).done(),
            "tensor t offset",
        ),
        (
            "tensors overlap",
            plain()
                .tensor("t", &[16], 0, 0)
                .tensor("u", &[8], 0, 32)
                .done(),
            "tensor u offset",
        ),
        (
            "tensors out of order",
            plain()
                .tensor("t", &[8], 0, 32)
                .tensor("u", &[8], 0, 0)
                .done(),
            "tensor u offset",
        ),
        (
            "same tensor twice",
            plain()
                .tensor("t", &[8], 0, 0)
                .tensor("t", &[8], 0, 32)
                .done(),
            "tensor t",
        ),
        (
            "long tensor name",
            plain().tensor(&"n".repeat(128), &[8], 0, 0).done(),
            "tensor 0 name length",
        ),
    ]
}
