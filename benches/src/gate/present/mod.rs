//! A report as people and machines read it. Pure: a [`Report`](super::report::Report) in, text out.

pub mod figures;
pub mod junit;
pub mod markdown;
pub mod table;

#[cfg(test)]
pub(crate) mod sample;
