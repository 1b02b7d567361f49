//! HTTP/1.1 with bounds: [`server`] reads requests and writes response heads, [`client`] reads responses and
//! writes requests.
//!
//! The server's reader is strict (RFC 9112, and where that leaves a choice, the one that closes the door to
//! request smuggling); the client's reader takes what servers in the field really send.

mod chunked;
pub mod client;
mod head;
pub mod server;
mod text;

pub use chunked::ChunkFault;
pub use head::FieldFault;

/// No more field lines than this are ever taken, whatever [`Limits::headers`] says: they are parsed into an
/// array on the stack (32 bytes each).
pub const HEADERS_MAX: usize = 128;

/// What a peer may make us hold or wade through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A message head, from its first line to the empty line that ends it, in bytes; also all trailers of a
    /// chunked body. The server answers 431.
    pub head_bytes: usize,
    /// The request target, in bytes. The server answers 414.
    pub target_bytes: usize,
    /// Field lines in a head, and again in the trailers; at most [`HEADERS_MAX`]. The server answers 431.
    pub headers: usize,
    /// A request's body, in bytes, without its chunk framing. The server answers 413. Does not apply to
    /// responses.
    pub body_bytes: u64,
}

impl Default for Limits {
    /// Close to what nginx allows by default: a line of 8 KiB, a body of 1 MiB.
    fn default() -> Self {
        Self { head_bytes: 8192, target_bytes: 4096, headers: 64, body_bytes: 1024 * 1024 }
    }
}

impl Limits {
    fn fields_max(&self) -> usize {
        self.headers.min(HEADERS_MAX)
    }
}
