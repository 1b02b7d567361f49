//! `selftest`
use super::cli::SelftestArgs;
use crate::error::MeasureError;
use tidemark_program::Exit;
use crate::interrupt::Interrupt;
/// x
/// # Errors
/// x
pub fn run(_args: &SelftestArgs, _interrupt: &Interrupt) -> Result<Exit, MeasureError> {
    Ok(Exit::Good)
}
