//! The actors of the books, killed and started again.
