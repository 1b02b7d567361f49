//! The HTTP server without its sockets: bytes in, bytes out.
//!
//! `GET /health` and `GET /ready` (and HEAD), `POST /echo` whose body streams back in the framing it came in; everything
//! else is answered with the 4xx or 5xx that fits. Requests may be pipelined; the answers come in order.

use tidemark_wire::http::Limits;
use tidemark_wire::http::server::{
    Body, BodyFraming, CONTINUE, Event, Method, Reject, RequestHead, RequestReader, write_chunk,
    write_last_chunk, write_response_head,
};

/// What a client may send. A body is not held, so its limit only bounds how long one request can take.
pub const LIMITS: Limits =
    Limits { head_bytes: 8192, target_bytes: 4096, headers: 64, body_bytes: BODY_BYTES_MAX as u64 };

/// The largest request body: what nginx allows by default.
const BODY_BYTES_MAX: u32 = 1024 * 1024;

/// [`Session::advance`] stops when it has written this much, so that a client that pipelines and does not read cannot
/// make the server hold more than this and the answer to one more piece of input.
pub const OUTPUT_BYTES: usize = 64 * 1024;

/// What answers depend on besides the request.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Whether `/ready` says yes.
    pub ready: bool,
    /// The server is stopping: every answer is the last on its connection.
    pub closing: bool,
    /// The `date` field's value.
    pub date: &'a str,
}

/// How far [`Session::advance`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All input is used up.
    NeedInput,
    /// The output is to be sent before more is made; input may be left.
    OutputFull,
    /// The output is the last of this connection; input that is left means nothing.
    Close(CloseKind),
}

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseKind {
    /// An exchange was completed after which one side wanted no more.
    Finished,
    /// The request was malformed or beyond a limit.
    BadRequest,
}

/// One connection's state: 24 bytes, and no buffer while it is idle.
#[derive(Debug)]
pub struct Session {
    reader: RequestReader,
    /// Length of the body that is echoed, when its framing is a length. Fits, because [`BODY_BYTES_MAX`] does.
    echo_bytes: u32,
    reply: Reply,
    keep_alive: bool,
}

const _: () = assert!(size_of::<Session>() <= 24, "one per connection");

/// What is done with the body of the current request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    /// Between requests.
    None,
    /// The answer is written; a body is read and dropped.
    Answered,
    /// To be echoed with a length. The head waits for the body's first byte: a client that was told to continue must
    /// see no final answer before it has begun to send.
    EchoLength,
    /// To be echoed in chunks. The head waits, because a body that is malformed from the start deserves its 400.
    EchoChunked,
    /// The head of a length-framed echo is written.
    LengthBegun,
    /// The head of a chunked echo is written.
    ChunkedBegun,
}

impl Default for Session {
    fn default() -> Session {
        Session::new()
    }
}

impl Session {
    /// A fresh connection.
    pub const fn new() -> Session {
        Session { reader: RequestReader::new(), echo_bytes: 0, reply: Reply::None, keep_alive: true }
    }

    /// No request is under way.
    pub fn is_idle(&self) -> bool {
        self.reader.is_idle()
    }

    /// A request's head has begun and not ended.
    pub const fn in_head(&self) -> bool {
        self.reader.in_head()
    }

    /// Takes from `input`, appends to `out`, and calls `answered` with the status of every response that it begins.
    /// Once it has returned [`Progress::Close`] it must not be called again.
    pub fn advance(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        context: Context<'_>,
        mut answered: impl FnMut(u16),
    ) -> Progress {
        let mut writer = Writer { out, context, answered: &mut answered };
        while writer.out.len() < OUTPUT_BYTES {
            match self.reader.next(input, &LIMITS) {
                Ok(None) => return Progress::NeedInput,
                Ok(Some(Event::Head(head))) => {
                    self.keep_alive = head.keep_alive && !context.closing;
                    (self.reply, self.echo_bytes) = begin(&head, &mut self.keep_alive, &mut writer);
                    if self.reply == Reply::Answered && body_withheld(&head) {
                        return Progress::Close(CloseKind::Finished);
                    }
                }
                Ok(Some(Event::Body(bytes))) => {
                    self.reply = begin_echo(self.reply, self.echo_bytes, self.keep_alive, &mut writer);
                    match self.reply {
                        Reply::LengthBegun => writer.out.extend_from_slice(bytes),
                        Reply::ChunkedBegun => write_chunk(writer.out, bytes),
                        _ => {}
                    }
                }
                Ok(Some(Event::End)) => {
                    if begin_echo(self.reply, self.echo_bytes, self.keep_alive, &mut writer)
                        == Reply::ChunkedBegun
                    {
                        write_last_chunk(writer.out);
                    }
                    self.reply = Reply::None;
                    if !self.keep_alive || context.closing {
                        return Progress::Close(CloseKind::Finished);
                    }
                }
                Err(reject) => {
                    refuse(self.reply, reject, &mut writer);
                    return Progress::Close(CloseKind::BadRequest);
                }
            }
        }
        Progress::OutputFull
    }
}

/// Where responses go.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    context: Context<'a>,
    answered: &'a mut dyn FnMut(u16),
}

impl Writer<'_> {
    fn head(
        &mut self,
        status: u16,
        content_type: &str,
        framing: BodyFraming,
        keep_alive: bool,
        extra: &[(&str, &str)],
    ) {
        (self.answered)(status);
        write_response_head(
            self.out,
            status,
            Some(content_type),
            framing,
            keep_alive,
            self.context.date,
            extra,
        );
    }
}

/// A complete answer.
struct Answer {
    status: u16,
    content_type: &'static str,
    body: &'static str,
    allow: Option<&'static str>,
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";
const BYTES: &str = "application/octet-stream";

/// The answer to a request that does not ask for an echo, or `None` when it does.
fn route(head: &RequestHead<'_>, ready: bool) -> Option<Answer> {
    let json = |status, body| Answer { status, content_type: JSON, body, allow: None };
    let not_allowed =
        |allow| Answer { status: 405, content_type: TEXT, body: "method not allowed\n", allow: Some(allow) };
    let is_get = matches!(head.method, Method::Get | Method::Head);
    Some(match head.path() {
        "/health" if is_get => json(200, r#"{"status":"ok"}"#),
        "/ready" if is_get && ready => json(200, r#"{"status":"ready"}"#),
        "/ready" if is_get => json(503, r#"{"status":"not ready"}"#),
        "/health" | "/ready" => not_allowed("GET, HEAD"),
        "/echo" if head.method == Method::Post => return None,
        "/echo" => not_allowed("POST"),
        _ => Answer { status: 404, content_type: TEXT, body: "not found\n", allow: None },
    })
}

/// Answers a head, or says how its body is to be echoed.
fn begin(head: &RequestHead<'_>, keep_alive: &mut bool, writer: &mut Writer<'_>) -> (Reply, u32) {
    let Some(answer) = route(head, writer.context.ready) else {
        if body_withheld(head) {
            writer.out.extend_from_slice(CONTINUE);
        }
        // An echo has no field to say it in, so that HTTP/1.0 clients that hope to be kept are not.
        *keep_alive &= head.version_minor > 0;
        return match head.body {
            Body::Chunked => (Reply::EchoChunked, 0),
            Body::None => (Reply::EchoLength, 0),
            Body::Length(bytes) => (Reply::EchoLength, u32::try_from(bytes).unwrap_or(BODY_BYTES_MAX)),
        };
    };
    *keep_alive &= !body_withheld(head);
    let mut extra = Vec::new();
    if let Some(allow) = answer.allow {
        extra.push(("allow", allow));
    }
    if head.version_minor == 0 && *keep_alive {
        extra.push(("connection", "keep-alive"));
    }
    let framing = BodyFraming::Length(answer.body.len() as u64);
    writer.head(answer.status, answer.content_type, framing, *keep_alive, &extra);
    if head.method != Method::Head {
        writer.out.extend_from_slice(answer.body.as_bytes());
    }
    (Reply::Answered, 0)
}

/// The client waits for permission before it sends its body. When it gets a final answer instead, it may send the body
/// or the next request: what follows could be either, so the connection has to end.
fn body_withheld(head: &RequestHead<'_>) -> bool {
    head.expect_continue && !matches!(head.body, Body::None | Body::Length(0))
}

/// Writes the head of an echo if that is still to be done.
fn begin_echo(reply: Reply, echo_bytes: u32, keep_alive: bool, writer: &mut Writer<'_>) -> Reply {
    match reply {
        Reply::EchoLength => {
            writer.head(200, BYTES, BodyFraming::Length(u64::from(echo_bytes)), keep_alive, &[]);
            Reply::LengthBegun
        }
        Reply::EchoChunked => {
            writer.head(200, BYTES, BodyFraming::Chunked, keep_alive, &[]);
            Reply::ChunkedBegun
        }
        other => other,
    }
}

/// Answers a request that is none. When its own answer has begun already, all that is left is to close: a chunked
/// echo then lacks its last chunk, which tells the client.
fn refuse(reply: Reply, reject: Reject, writer: &mut Writer<'_>) {
    if matches!(reply, Reply::None | Reply::EchoLength | Reply::EchoChunked) {
        // One byte more for the line feed.
        let framing = BodyFraming::Length(reject.why.len() as u64 + 1);
        writer.head(reject.status, TEXT, framing, false, &[]);
        writer.out.extend_from_slice(reject.why.as_bytes());
        writer.out.push(b'\n');
    }
}

/// The whole answer to a head that took too long.
pub fn write_head_timeout(out: &mut Vec<u8>, date: &str) {
    const BODY: &str = "request head timeout\n";
    let framing = BodyFraming::Length(BODY.len() as u64);
    write_response_head(out, 408, Some(TEXT), framing, false, date, &[]);
    out.extend_from_slice(BODY.as_bytes());
}

/// The whole answer to a connection for which there is no room.
pub fn write_no_room(out: &mut Vec<u8>, date: &str) {
    const BODY: &str = "too many connections\n";
    let framing = BodyFraming::Length(BODY.len() as u64);
    write_response_head(out, 503, Some(TEXT), framing, false, date, &[("retry-after", "1")]);
    out.extend_from_slice(BODY.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONTEXT: Context<'_> = Context { ready: true, closing: false, date: "now" };

    struct Ran {
        out: String,
        statuses: Vec<u16>,
        closed: Option<CloseKind>,
    }

    /// Feeds the pieces to a fresh session, emptying its output whenever it asks for that.
    fn run(pieces: &[&[u8]], context: Context<'_>) -> Ran {
        let mut session = Session::new();
        let mut ran = Ran { out: String::new(), statuses: Vec::new(), closed: None };
        for mut input in pieces.iter().copied() {
            loop {
                let mut out = Vec::new();
                let progress =
                    session.advance(&mut input, &mut out, context, |status| ran.statuses.push(status));
                ran.out.push_str(std::str::from_utf8(&out).expect("tests send text"));
                match progress {
                    Progress::NeedInput => break,
                    Progress::OutputFull => {
                        assert!(out.len() < OUTPUT_BYTES + 2048 + pieces[0].len());
                    }
                    Progress::Close(kind) => {
                        ran.closed = Some(kind);
                        return ran;
                    }
                }
            }
        }
        ran
    }

    fn ask(request: &str) -> Ran {
        run(&[request.as_bytes()], CONTEXT)
    }

    #[test]
    fn health_is_the_documented_answer() {
        assert_eq!(
            ask("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").out,
            "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}"
        );
        let head = ask("HEAD /health HTTP/1.1\r\nhost: a\r\n\r\n").out;
        assert!(head.contains("content-length: 15") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[test]
    fn ready_says_so_or_503() {
        let request = b"GET /ready?from=probe HTTP/1.1\r\nhost: a\r\n\r\n";
        assert_eq!(run(&[request], CONTEXT).statuses, [200]);
        let ran = run(&[request], Context { ready: false, ..CONTEXT });
        assert_eq!((ran.statuses, ran.closed), (vec![503], None));
    }

    #[test]
    fn other_paths_and_methods_are_refused_and_the_connection_lives_on() {
        for (line, status, allow) in [
            ("GET /", 404, None),
            ("GET /healthy", 404, None),
            ("POST /health", 405, Some("GET, HEAD")),
            ("DELETE /ready", 405, Some("GET, HEAD")),
            ("GET /echo", 405, Some("POST")),
        ] {
            let ran =
                ask(&format!("{line} HTTP/1.1\r\nhost: a\r\n\r\nGET /health HTTP/1.1\r\nhost: a\r\n\r\n"));
            assert_eq!((ran.statuses, ran.closed), (vec![status, 200], None), "{line}");
            if let Some(allow) = allow {
                assert!(ran.out.contains(&format!("\r\nallow: {allow}\r\n")), "{}", ran.out);
            }
        }
    }

    #[test]
    fn echo_keeps_the_framing() {
        let length = ask("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello").out;
        assert!(length.contains("content-length: 5\r\n") && length.ends_with("\r\n\r\nhello"), "{length}");
        let chunked = ask(
            "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        )
        .out;
        assert!(chunked.contains("transfer-encoding: chunked\r\n"), "{chunked}");
        assert!(chunked.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{chunked}");
        let empty = ask("POST /echo HTTP/1.1\r\nhost: a\r\n\r\n").out;
        assert!(empty.contains("content-length: 0\r\n"), "{empty}");
    }

    #[test]
    fn a_withheld_body_is_asked_for_before_any_answer() {
        let head = b"POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
        assert_eq!(run(&[head], CONTEXT).out, "HTTP/1.1 100 Continue\r\n\r\n");
        let whole = run(&[head, b"hi"], CONTEXT);
        assert!(whole.out.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{}", whole.out);
        let refused = ask("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
        assert_eq!((refused.statuses, refused.closed), (vec![404], Some(CloseKind::Finished)));
        assert!(refused.out.contains("connection: close"), "{}", refused.out);
    }

    #[test]
    fn a_refused_request_gets_its_status_and_a_close() {
        let ran = ask("GET /health HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n");
        assert_eq!((ran.statuses, ran.closed), (vec![400], Some(CloseKind::BadRequest)));
        assert!(
            ran.out.contains("connection: close\r\n") && ran.out.ends_with("several content-length fields\n")
        );
    }

    #[test]
    fn a_chunked_body_that_is_wrong_from_its_start_gets_400_and_later_a_cut() {
        let head = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(ask(&format!("{head}zz\r\n")).statuses, [400]);
        let late = ask(&format!("{head}1\r\na\r\nzz\r\n"));
        assert_eq!((late.statuses, late.closed), (vec![200], Some(CloseKind::BadRequest)));
        assert!(late.out.ends_with("1\r\na\r\n"), "no last chunk: {}", late.out);
    }

    #[test]
    fn http_1_0_is_kept_alive_only_when_it_asks() {
        let closes = ask("GET /health HTTP/1.0\r\n\r\n");
        assert_eq!(closes.closed, Some(CloseKind::Finished));
        assert!(closes.out.contains("connection: close"));
        let stays = ask("GET /health HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
        assert_eq!(stays.closed, None);
        assert!(stays.out.contains("connection: keep-alive"));
    }

    #[test]
    fn while_the_server_stops_every_answer_is_the_last() {
        let request = b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n";
        let ran = run(&[request, request], Context { closing: true, ..CONTEXT });
        assert_eq!((ran.statuses, ran.closed), (vec![200], Some(CloseKind::Finished)));
        assert!(ran.out.contains("connection: close"));
    }

    #[test]
    fn output_is_bounded_however_much_is_pipelined() {
        let many = "GET /health HTTP/1.1\r\nhost: a\r\n\r\n".repeat(2_000);
        let ran = ask(&many);
        assert_eq!(ran.statuses.len(), 2_000);
        let mut input = many.as_bytes();
        let mut out = Vec::new();
        assert_eq!(Session::new().advance(&mut input, &mut out, CONTEXT, |_| {}), Progress::OutputFull);
        assert!((OUTPUT_BYTES..OUTPUT_BYTES + 512).contains(&out.len()) && !input.is_empty());
    }

    #[test]
    fn no_room_is_a_whole_answer() {
        let mut out = Vec::new();
        write_no_room(&mut out, "");
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("connection: close\r\n"), "{text}");
    }

    proptest! {
        /// However the bytes arrive: the same answers. Chunk borders of an echo may differ, its bytes may not.
        #[test]
        fn any_split_gives_the_same_answers(cuts in prop::collection::vec(0_usize..400, 0..12)) {
            let stream = "GET /health HTTP/1.1\r\nhost: a\r\n\r\n\
                POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 12\r\n\r\nhello, world\
                POST /health HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc\
                HEAD /ready HTTP/1.1\r\nhost: a\r\n\r\nGET /nothing HTTP/1.1\r\nhost: a\r\n\r\n\
                GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            let (split, whole) = (run(&pieces, CONTEXT), run(&[stream], CONTEXT));
            prop_assert_eq!(split.out, whole.out);
            prop_assert_eq!(&split.statuses, &[200, 200, 405, 200, 404, 200]);
            prop_assert_eq!(split.closed, Some(CloseKind::Finished));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            Session::new().advance(&mut &bytes[..], &mut out, CONTEXT, |_| {});
        }
    }
}
