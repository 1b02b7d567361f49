//! The protocols Tidemark speaks, for both ends of a connection: raw echo and HTTP/1.1.
//!
//! Everything here is sans-I/O: bytes come in as slices, events go out, and there is no clock, no socket and
//! no thread. The law that all readers obey, and that the tests hold them to: *any split of the same bytes
//! into reads gives the same events and the same verdict*.
//!
//! State per connection is small (each type says how small) because a server holds hundreds of thousands of
//! them: a reader allocates only for a message head that did not arrive whole, or for a chunked request body.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod echo;
pub mod http;
