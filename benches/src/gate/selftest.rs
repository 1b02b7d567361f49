//! `selftest`
use super::cli::SelftestArgs;
use crate::error::MeasureError;
use crate::interrupt::Interrupt;
use tidemark_program::Exit;
/// x
/// # Errors
/// x
pub fn run(_args: &SelftestArgs, _interrupt: &Interrupt) -> Result<Exit, MeasureError> {
    Ok(Exit::Good)
}
