//! `tidemark-gate` as its users run it: real processes, real files. What is decided depends on the machine, so it is only held
//! against itself; the rules are tested beside the code.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

mod broken;
mod counts;
mod programs;
mod whole;
