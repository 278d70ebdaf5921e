//! How a tensor's elements are stored: the formats a file may name, and the size of their blocks.
//!
//! A file may hold formats the engine cannot compute with; they are listed so that its sizes can be
//! checked and it can be shown. Ids and sizes are those of ggml.

/// A storage format. Elements lie in blocks; a row is a whole number of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(non_camel_case_types, missing_docs)]
pub enum Format {
    F32,
    F16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q8_1,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    Q8_K,
    IQ2_XXS,
    IQ2_XS,
    IQ3_XXS,
    IQ1_S,
    IQ4_NL,
    IQ3_S,
    IQ2_S,
    IQ4_XS,
    I8,
    I16,
    I32,
    I64,
    F64,
    IQ1_M,
    BF16,
    TQ1_0,
    TQ2_0,
    MXFP4,
}

impl Format {
    /// The format of an id in the file.
    pub fn from_id(id: u32) -> Option<Self> {
        TABLE.iter().find(|row| row.0 == id).map(|row| row.1)
    }

    /// Its id in the file.
    pub fn id(self) -> u32 {
        self.row().0
    }

    /// Its name, as ggml writes it.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Elements in one block.
    pub fn block_elements(self) -> usize {
        self.row().3
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        self.row().4
    }

    /// Bytes of a row of so many elements, or none where that is not a whole number of blocks.
    pub fn row_bytes(self, elements: usize) -> Option<usize> {
        if !elements.is_multiple_of(self.block_elements()) {
            return None;
        }
        (elements / self.block_elements()).checked_mul(self.block_bytes())
    }

    fn row(self) -> &'static (u32, Format, &'static str, usize, usize) {
        // The table is in the order of the enum; a test holds it to that.
        &TABLE[self as usize]
    }
}

/// Id, format, name, elements and bytes of a block; in the order of the enum.
const TABLE: [(u32, Format, &str, usize, usize); 32] = [
    (0, Format::F32, "F32", 1, 4),
    (1, Format::F16, "F16", 1, 2),
    (2, Format::Q4_0, "Q4_0", 32, 18),
    (3, Format::Q4_1, "Q4_1", 32, 20),
    (6, Format::Q5_0, "Q5_0", 32, 22),
    (7, Format::Q5_1, "Q5_1", 32, 24),
    (8, Format::Q8_0, "Q8_0", 32, 34),
    (9, Format::Q8_1, "Q8_1", 32, 36),
    (10, Format::Q2_K, "Q2_K", 256, 84),
    (11, Format::Q3_K, "Q3_K", 256, 110),
    (12, Format::Q4_K, "Q4_K", 256, 144),
    (13, Format::Q5_K, "Q5_K", 256, 176),
    (14, Format::Q6_K, "Q6_K", 256, 210),
    (15, Format::Q8_K, "Q8_K", 256, 292),
    (16, Format::IQ2_XXS, "IQ2_XXS", 256, 66),
    (17, Format::IQ2_XS, "IQ2_XS", 256, 74),
    (18, Format::IQ3_XXS, "IQ3_XXS", 256, 98),
    (19, Format::IQ1_S, "IQ1_S", 256, 50),
    (20, Format::IQ4_NL, "IQ4_NL", 32, 18),
    (21, Format::IQ3_S, "IQ3_S", 256, 110),
    (22, Format::IQ2_S, "IQ2_S", 256, 82),
    (23, Format::IQ4_XS, "IQ4_XS", 256, 136),
    (24, Format::I8, "I8", 1, 1),
    (25, Format::I16, "I16", 1, 2),
    (26, Format::I32, "I32", 1, 4),
    (27, Format::I64, "I64", 1, 8),
    (28, Format::F64, "F64", 1, 8),
    (29, Format::IQ1_M, "IQ1_M", 256, 56),
    (30, Format::BF16, "BF16", 1, 2),
    (34, Format::TQ1_0, "TQ1_0", 256, 54),
    (35, Format::TQ2_0, "TQ2_0", 256, 66),
    (39, Format::MXFP4, "MXFP4", 32, 17),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.1 as usize, index, "{}", row.2);
            assert_eq!(Format::from_id(row.0), Some(row.1));
            assert_eq!(format!("{:?}", row.1), row.2);
        }
    }

    #[test]
    fn a_row_is_a_whole_number_of_blocks() {
        assert_eq!(Format::Q4_1.row_bytes(576), Some(360));
        assert_eq!(Format::Q4_1.row_bytes(577), None);
        assert_eq!(Format::F64.row_bytes(usize::MAX), None);
    }
}
