//! Laws of the dispatcher in virtual time: no sockets, no clock, so that what must hold is tested exactly.

mod account;
mod arrivals;
mod simulation;
mod stall;
