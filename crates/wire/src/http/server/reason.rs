//! Why a request is refused: one table of causes, their status and their words.

use crate::http::{ChunkFault, FieldFault};

/// A request that must be answered with an error, after which its connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {why}")]
pub struct Reject {
    /// 400, 413, 414, 417, 431, 501 or 505.
    pub status: u16,
    /// What was wrong, for a log or the response's body.
    pub why: &'static str,
}

/// As [`Reject`], but one byte or two, so that a reader can remember it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// A faulty byte or line in the head.
    Line(FieldFault),
    Chunk(ChunkFault),
    EmptyLines,
    Method,
    MethodTooLong,
    Target,
    TargetTooLong,
    NoVersion,
    Version,
    VersionMajor,
    HeadTooLarge,
    TooManyFields,
    Fields,
    NoHost,
    SeveralHosts,
    Host,
    ContentLength,
    SeveralContentLengths,
    LengthAndCoding,
    CodingInHttp10,
    Coding,
    CodingOrder,
    CodingUnknown,
    Expectation,
    BodyTooLarge,
}

impl Reason {
    pub(super) const fn reject(self) -> Reject {
        let (status, why) = match self {
            Self::Line(fault) => (400, fault.why()),
            Self::Chunk(ChunkFault::TrailersTooLarge) => (431, ChunkFault::TrailersTooLarge.why()),
            Self::Chunk(fault) => (400, fault.why()),
            Self::EmptyLines => (400, "too many empty lines before a request"),
            Self::Method => (400, "the request line has no valid method"),
            Self::MethodTooLong => (501, "the method is longer than any there is"),
            Self::Target => (400, "the request target is malformed"),
            Self::TargetTooLong => (414, "the request target is too long"),
            Self::NoVersion => (400, "the request line has no version (HTTP/0.9)"),
            Self::Version => (400, "the request line has a malformed version"),
            Self::VersionMajor => (505, "only HTTP/1.x is spoken here"),
            Self::HeadTooLarge => (431, "the request head is too large"),
            Self::TooManyFields => (431, "the request head has too many fields"),
            Self::Fields => (400, "the request head is malformed"),
            Self::NoHost => (400, "the host field is missing"),
            Self::SeveralHosts => (400, "there are several host fields"),
            Self::Host => (400, "the host field is malformed"),
            Self::ContentLength => (400, "the content-length is malformed"),
            Self::SeveralContentLengths => (400, "there are several content-length fields"),
            Self::LengthAndCoding => (400, "both content-length and transfer-encoding are given"),
            Self::CodingInHttp10 => (400, "HTTP/1.0 has no transfer-encoding"),
            Self::Coding => (400, "the transfer-encoding is malformed"),
            Self::CodingOrder => (400, "chunked must be the last transfer coding, and only once"),
            Self::CodingUnknown => (501, "chunked is the only transfer coding there is here"),
            Self::Expectation => (417, "100-continue is the only expectation there is here"),
            Self::BodyTooLarge => (413, "the request body is too large"),
        };
        Reject { status, why }
    }
}
