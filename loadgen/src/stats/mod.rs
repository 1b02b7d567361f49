//! The statistics that a run is judged by. Pure: figures in, figures out; each names the source of its formula and is held
//! against tables or against what `SciPy` says.

pub mod anderson_darling;
pub mod erlang;
pub mod rank_sum;
pub mod stationarity;

#[cfg(test)]
mod reference;
